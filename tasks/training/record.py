"""The stored record of a training: its plan, its progress, and the step that was kept."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models.system.errors import UserError
from models.system.files import write_file

# Settings that may change between runs of one training: its length, how it is computed, when it stops.
LENGTH_SETTINGS = ("steps",)
COMPUTE_SETTINGS = ("checkpointing", "compile", "exact")
STOP_SETTINGS = ("stop", "patience", "gain", "enough", "least_steps", "plateau_window", "plateau_share", "save_every")


@dataclass(frozen=True)
class TrainingPlan:
    """The plan of a training: pictures with captions, and everything that decides the outcome."""

    persona: str
    token: str
    class_word: str
    reference_set: str
    """The id of the reference set."""
    pictures: Sequence[str]
    """Paths relative to the studio."""
    captions: Sequence[Sequence[str]]
    origins: Sequence[str]
    """The origin of each picture's captions: provenance, txt, captioner or template."""
    model: str
    """The model's name, for people; its hash is in `of`."""
    previews: Sequence[Preview]
    config: Mapping[str, Any]
    """Every setting of the trainer."""
    pace: Mapping[str, Any]
    """When the training saves, validates, previews and stops."""
    of: Mapping[str, Any]
    """Hashes of the model, its VAE, the pictures, the scorer."""
    round: int = 1

    @property
    def id(self) -> str:
        """Return the plan's hash: equal plans are one training, which is resumed and never begun twice."""
        values = dataclasses.asdict(self)
        for name in ("model", "pictures", "origins"):  # names and paths do not change the outcome
            del values[name]
        for part, names in (("config", LENGTH_SETTINGS + COMPUTE_SETTINGS), ("pace", STOP_SETTINGS)):
            values[part] = {name: value for name, value in values[part].items() if name not in names}
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Preview:
    """A preview picture of a training. `{subject}` stands for the token, or for the class word in the baseline."""

    prompt: str
    seed: int

    def prompt_for(self, subject: str) -> str:
        return self.prompt.replace("{subject}", subject)


@dataclass(frozen=True)
class Measures:
    """Measures of preview pictures by the scorer. Each is a mean over the previews."""

    identity: float
    """Likeness to the references, surroundings taken out: 0 is that of the class word, 1 theirs to each other."""
    editability: float
    """How much the prompt is obeyed, the class word put in for the token: 1 is as much as the class word itself is."""
    leak: float
    """How much more the surroundings look like the references' than the class word's do; 0 is not at all."""
    collapse: float
    """How much more the pictures resemble one single reference than the references resemble each other; 0 is not at all."""
    score: float
    """The figure by which versions are compared: higher is better."""


@dataclass(frozen=True)
class PreviewPoint:
    """The embedding after some steps, and its preview pictures in the order of the plan's previews."""

    step: int
    word: str
    """The embedding's file, relative to the studio."""
    pictures: Sequence[str]
    """Paths relative to the studio."""
    measures: Measures
    validation: float | None = None


@dataclass(frozen=True)
class TrainingRecord:
    """The progress or the result of a training."""

    lesson: TrainingPlan
    losses: Sequence[float] = ()
    """The loss of each step, from the first."""
    rates: Sequence[float] = ()
    validations: Sequence[tuple[int, float]] = ()
    """Step and loss on fixed pictures, times and noise."""
    points: Sequence[PreviewPoint] = ()
    baseline: Sequence[str] = ()
    """The previews with the class word in place of the token."""
    references: Mapping[str, float] = field(default_factory=dict)
    """The scorer's values for the references and for the class word: the ends of the scales."""
    step: int = 0
    state: str = ""
    """The checkpoint to resume from, beside this file; empty when the training is over."""
    stopped: str = ""
    """The reason why it stopped, in a sentence; empty before."""
    by: str = ""
    """The kind of reason: steps (all are made), score (no better previews) or loss (it has settled)."""
    kept: int | None = None
    """The step whose embedding is the result."""
    seconds: float = 0.0
    """Seconds spent in steps, over all its runs."""
    machine: Mapping[str, Any] = field(default_factory=dict)
    """Device, precision, peak memory, versions."""
    version: int | None = None
    """Its number among the persona's embeddings, once it is registered."""
    current: bool | None = None
    """True if the version became the current one."""
    verdict: str = ""
    """The reason why it became current or did not."""

    @property
    def is_over(self) -> bool:
        """Tell whether it has stopped and the plan asks for no more steps."""
        more = self.step < self.lesson.config["steps"] and (self.by == "steps" or self.lesson.pace["stop"] == "never")
        return bool(self.stopped) and not more

    @property
    def best_point(self) -> PreviewPoint:
        """Return the point that was kept."""
        return next(point for point in self.points if point.step == self.kept)

    def with_changes(self, **changes: Any) -> TrainingRecord:
        return dataclasses.replace(self, **changes)

    def as_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=1, sort_keys=True, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> TrainingRecord:
        values = json.loads(text)
        plan = values.pop("lesson")
        plan["previews"] = [Preview(**preview) for preview in plan["previews"]]
        points = [
            PreviewPoint(**(point | {"measures": Measures(**point["measures"])})) for point in values.pop("points")
        ]
        validations = [(step, loss) for step, loss in values.pop("validations")]
        return cls(lesson=TrainingPlan(**plan), points=points, validations=validations, **values)


class TrainingStore:
    """Stores the trainings of one persona: a folder for each, with record, checkpoint, embeddings and report."""

    def __init__(self, studio: Path, persona: str) -> None:
        self.studio = studio
        self.folder = studio / "trainings" / persona

    def training_folder(self, training_id: str) -> Path:
        return self.folder / training_id

    def save_training(self, training: TrainingRecord, state: bytes | None = None) -> TrainingRecord:
        """Save the record. A new checkpoint is written before the record names it; the old one is deleted after that."""
        folder = self.training_folder(training.lesson.id)
        before = self._load_record(folder) if state is not None else None
        if state is not None:
            training = training.with_changes(state=f"state-{training.step:06}.safetensors")
            write_file(folder / training.state, state)
        write_file(folder / "training.json", training.as_json().encode())
        if before and before.state and before.state != training.state:
            (folder / before.state).unlink(missing_ok=True)  # no record names this checkpoint any more
        return training

    def load_or_new(self, plan: TrainingPlan) -> TrainingRecord:
        """Return the saved training of this plan, or a new one."""
        record = self._load_record(self.training_folder(plan.id))
        return TrainingRecord(plan) if record is None else record.with_changes(lesson=plan)

    def read_checkpoint(self, training: TrainingRecord) -> bytes | None:
        """Return the checkpoint to resume from, or None to begin."""
        if not training.state:
            return None
        path = self.training_folder(training.lesson.id) / training.state
        try:
            return path.read_bytes()
        except OSError as error:
            raise UserError(
                f"the checkpoint {path} cannot be read ({error.strerror}): put it back, or move its folder away to"
                " start the training anew"
            ) from None

    def load_training(self, training_id: str) -> TrainingRecord:
        record = self._load_record(self.training_folder(training_id))
        if record is None:
            raise UserError(f"there is no training {training_id} in {self.folder}: restage train makes one")
        return record

    def _load_record(self, folder: Path) -> TrainingRecord | None:
        path = folder / "training.json"
        if not path.exists():
            return None
        try:
            return TrainingRecord.from_json(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise UserError(
                f"{path} is not a readable training ({error}): move its folder away to start the training anew"
            ) from None
