"""Textual inversion: teach a model a new word, of which the only parameters are the word's own vectors."""

from models.inversion.config import Config as Config
from models.inversion.training import DivergedError as DivergedError
from models.inversion.training import Example as Example
from models.inversion.training import Plateau as Plateau
from models.inversion.training import Record as Record
from models.inversion.training import train as train
from models.inversion.training import validation as validation
