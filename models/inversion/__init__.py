"""Textual inversion: teach a model a new word, of which the only parameters are the word's own vectors."""

from models.inversion.config import Config as Config
from models.inversion.training import DivergedError as DivergedError
from models.inversion.training import Plateau as Plateau
from models.inversion.training import TrainingExample as TrainingExample
from models.inversion.training import TrainingStep as TrainingStep
from models.inversion.training import measure_validation_loss as measure_validation_loss
from models.inversion.training import train_token as train_token
