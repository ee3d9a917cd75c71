"""A training of a persona's word as it stands on disk: what it was told, how it went, which of its words was kept."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models.system.errors import UserError
from models.system.files import write

# What may change while a training goes on: how long it takes, how it is computed, when it is enough.
HOW_LONG = ("steps",)
HOW = ("checkpointing", "compile", "exact")
WHEN = ("stop", "patience", "gain", "enough", "least_steps", "plateau_window", "plateau_share", "save_every")


@dataclass(frozen=True)
class Lesson:
    """What is to be learned: pictures with captions, and everything that decides the outcome."""

    persona: str
    token: str
    class_word: str
    reference_set: str
    """The id of the set that the pictures are from."""
    pictures: Sequence[str]
    """Where they are, from the studio."""
    captions: Sequence[Sequence[str]]
    origins: Sequence[str]
    """Where each picture's captions came from: provenance, txt, captioner or template."""
    model: str
    """The model's name, for people; its hash is in `of`."""
    previews: Sequence[Preview]
    config: Mapping[str, Any]
    """Every knob of the trainer."""
    pace: Mapping[str, Any]
    """How often is saved, validated and previewed, and when it stops."""
    of: Mapping[str, Any]
    """Hashes of the model, its VAE, the pictures, the scorer."""
    round: int = 1

    @property
    def id(self) -> str:
        """Equal lessons have equal ids, so that a training is found again and never begun twice."""
        plain = dataclasses.asdict(self)
        for name in ("model", "pictures", "origins"):  # where things are is not what they are
            del plain[name]
        for part, names in (("config", HOW_LONG + HOW), ("pace", WHEN)):
            plain[part] = {name: value for name, value in plain[part].items() if name not in names}
        return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Preview:
    """A picture to look at while the word is learned. `{subject}` stands for the word, or for the class word beside it."""

    prompt: str
    seed: int

    def said_of(self, subject: str) -> str:
        return self.prompt.replace("{subject}", subject)


@dataclass(frozen=True)
class Measures:
    """What preview pictures show, by the scorer. Each is a mean over the previews."""

    identity: float
    """Likeness to the references, surroundings taken out: 0 is that of the class word, 1 theirs to each other."""
    editability: float
    """How much the prompt is obeyed, the class word put in for the token: 1 is as much as the class word itself is."""
    leak: float
    """How much more the surroundings look like the references' than the class word's do; 0 is not at all."""
    collapse: float
    """How much more the pictures resemble one single reference than the references resemble each other; 0 is not at all."""
    score: float
    """What versions are compared by: higher is better."""


@dataclass(frozen=True)
class Point:
    """The word after some steps, and its preview pictures in the order of the lesson's previews."""

    step: int
    word: str
    """The file of the word as it was, from the studio."""
    pictures: Sequence[str]
    """From the studio."""
    measures: Measures
    validation: float | None = None


@dataclass(frozen=True)
class Training:
    """How it went so far, or in the end."""

    lesson: Lesson
    losses: Sequence[float] = ()
    """Of each step, from the first."""
    rates: Sequence[float] = ()
    validations: Sequence[tuple[int, float]] = ()
    """Step and loss on fixed pictures, times and noise."""
    points: Sequence[Point] = ()
    baseline: Sequence[str] = ()
    """The previews with the class word in place of the token."""
    references: Mapping[str, float] = field(default_factory=dict)
    """What the scorer says of the references themselves and of the class word: the ends of the scales."""
    step: int = 0
    state: str = ""
    """The checkpoint to go on from, beside this file; empty when the training is over."""
    stopped: str = ""
    """Why it is over, in a sentence; empty while it is not."""
    by: str = ""
    """What stopped it: steps (all are made), score (no better previews) or loss (it has settled)."""
    kept: int | None = None
    """The step whose word is the outcome."""
    seconds: float = 0.0
    """Of the steps alone, over all its runs."""
    machine: Mapping[str, Any] = field(default_factory=dict)
    """Device, precision, peak memory, versions."""
    version: int | None = None
    """Its number among the persona's embeddings, once it is registered."""
    current: bool | None = None
    """Whether it became the current one."""
    verdict: str = ""
    """Why it became current or did not."""

    @property
    def over(self) -> bool:
        """Whether it has stopped and is not asked to go on: for more steps, or without stopping by itself."""
        more = self.step < self.lesson.config["steps"] and (self.by == "steps" or self.lesson.pace["stop"] == "never")
        return bool(self.stopped) and not more

    @property
    def best(self) -> Point:
        """The point that was kept."""
        return next(point for point in self.points if point.step == self.kept)

    def but(self, **changes: Any) -> Training:
        return dataclasses.replace(self, **changes)

    def as_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=1, sort_keys=True, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Training:
        values = json.loads(text)
        lesson = values.pop("lesson")
        lesson["previews"] = [Preview(**each) for each in lesson["previews"]]
        points = [Point(**(each | {"measures": Measures(**each["measures"])})) for each in values.pop("points")]
        validations = [(step, loss) for step, loss in values.pop("validations")]
        return cls(lesson=Lesson(**lesson), points=points, validations=validations, **values)


class Desk:
    """The trainings of one persona: a folder for each, with the record, the checkpoint, the words and the report."""

    def __init__(self, studio: Path, persona: str) -> None:
        self.studio = studio
        self.folder = studio / "trainings" / persona

    def place(self, training_id: str) -> Path:
        return self.folder / training_id

    def put(self, training: Training, state: bytes | None = None) -> Training:
        """Keep how it stands. A new checkpoint is there before the record names it, the old one until after."""
        place = self.place(training.lesson.id)
        before = self._read(place) if state is not None else None
        if state is not None:
            training = training.but(state=f"state-{training.step:06}.safetensors")
            write(place / training.state, state)
        write(place / "training.json", training.as_json().encode())
        if before and before.state and before.state != training.state:
            (place / before.state).unlink(missing_ok=True)  # a checkpoint of ours that nothing names any more
        return training

    def get(self, lesson: Lesson) -> Training:
        """The training of this lesson as it stands, or one that has not begun."""
        found = self._read(self.place(lesson.id))
        return Training(lesson) if found is None else found.but(lesson=lesson)

    def state(self, training: Training) -> bytes | None:
        """The checkpoint to go on from, or None to begin."""
        if not training.state:
            return None
        path = self.place(training.lesson.id) / training.state
        try:
            return path.read_bytes()
        except OSError as error:
            raise UserError(
                f"the checkpoint {path} cannot be read ({error.strerror}): put it back, or move its folder away to"
                " start the training anew"
            ) from None

    def read(self, training_id: str) -> Training:
        found = self._read(self.place(training_id))
        if found is None:
            raise UserError(f"there is no training {training_id} in {self.folder}: restage train makes one")
        return found

    def _read(self, place: Path) -> Training | None:
        path = place / "training.json"
        if not path.exists():
            return None
        try:
            return Training.from_json(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise UserError(
                f"{path} is not a readable training ({error}): move its folder away to start the training anew"
            ) from None
