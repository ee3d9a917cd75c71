"""Learn the word of a persona: step by step, saved as it goes, looked at on the way, stopped when there is no more to learn."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.sdxl.embedding import About, read, write
from models.system.errors import UserError
from models.system.processes import agreed, leads
from models.system.progress import bar
from tasks.store.picture_files import Artifacts
from tasks.training.record import Desk, Lesson, Measures, Point, Training

if TYPE_CHECKING:
    from models.inversion import Config, Plateau, Record
    from models.picture.shot import Shot
    from models.sdxl.embedding import Embedding
    from models.sdxl.renderer import Model

LEAST_GAIN = 1e-12  # an equal score is no gain
STUBBORN = 3  # times the patience, for a word that has not learned who it is yet
SMOOTH = 20  # losses that the one beside the bar is the mean of
Shots = Callable[[Path | None], "list[Shot]"]
"""The preview shots with a word's file, or with the class word where there is none."""


@dataclass(frozen=True)
class Eyes:
    """What the training asks of others: which previews to make, and what they show."""

    shots: Shots
    measure: Callable[[Sequence[str]], Measures]
    baseline: Sequence[str] = ()
    """The previews with the class word, for the record."""
    ends: Mapping[str, float] = field(default_factory=dict)
    """What the scorer says of the references and of the class word."""


def learn(lesson: Lesson, model: Model, eyes: Eyes | None, studio: Path) -> Training:
    """Train, or go on from where a training of this very lesson stopped. What is over is not done again.

    Of several processes only the leading one has `eyes`, and writes.
    """
    desk = Desk(studio, lesson.persona)
    training = desk.get(lesson)
    if training.over:
        return training
    return _Class(lesson, model, eyes, desk, training).held()


class _Class:
    """A training under way: the record grows in memory and is kept with every checkpoint."""

    def __init__(self, lesson: Lesson, model: Model, eyes: Eyes | None, desk: Desk, training: Training) -> None:
        self.lesson, self.model, self.desk = lesson, model, desk
        self._eyes = eyes
        self.place = desk.place(lesson.id)
        self.config, self.pace = config_of(lesson), lesson.pace
        self.training = training
        self.losses, self.rates = list(training.losses), list(training.rates)
        self.validations, self.points = list(training.validations), list(training.points)
        self.seconds = training.seconds
        self.plateau = _plateau(self.pace, self.validations)
        self._unread: deque[Record] = deque()  # a GPU is not waited for to learn its losses

    @property
    def eyes(self) -> Eyes:
        assert self._eyes, "only the leading process looks"
        return self._eyes

    def held(self) -> Training:
        from models.inversion import DivergedError, train

        steps = train(
            self.model, examples_of(self.lesson, self.desk.studio), self.config, self.desk.state(self.training)
        )
        try:
            self._follow(steps)
        except DivergedError as error:
            self._unread.clear()
            del self.losses[error.step - 1 :], self.rates[error.step - 1 :]
            if leads():
                self._keep(error.step - 1, error.state)
            raise
        return self.training

    def _follow(self, steps: Iterator[Record]) -> None:
        before = self.training.step
        with bar(f"learning {self.lesson.token}", self.config.steps * leads(), "steps", before) as advance:
            for record in steps:
                self.seconds += record.seconds
                self.rates.append(record.rate)
                self._unread.append(record)
                self._read(wait=False)
                advance(1, self._said())
                by, why = agreed(self._look(record) if leads() else ("", "")) if self._due(record.step) else ("", "")
                if by and not leads():
                    break
                if by:
                    kept = best(self.points).step
                    self._keep(record.step, record.state(), stopped=why, by=by, kept=kept)
                    break
                if record.step % self.pace["save_every"] == 0 and leads():
                    self._keep(record.step, record.state())

    def _due(self, step: int) -> bool:
        return step == self.config.steps or not all(
            step % self.pace[each] for each in ("validate_every", "preview_every")
        )

    def _read(self, wait: bool) -> None:
        while self._unread and (wait or self._unread[0].ready):
            self.losses.append(self._unread.popleft().loss)

    def _said(self) -> str:
        """What stands beside the bar: how fast it is, the loss, smoothed, and the memory in use at most."""
        last = self.losses[-SMOOTH:]
        loss = f"loss {sum(last) / len(last):.3f}, " if last else ""
        speed = len(self.rates) / self.seconds if self.seconds else 0.0
        return f"{speed:.1f} steps/s, {loss}{peak_memory(self.model.device) / 2**30:.1f} GiB"

    def _look(self, record: Record) -> tuple[str, str]:
        """Validate and preview where it is time to; returns what stops it and why, or nothing."""
        step, last, settled = record.step, record.step == self.config.steps, False
        if step % self.pace["validate_every"] == 0 or last:
            write(self._word("steps", step), record.embedding, self._about())
            loss = record.validation()
            self.validations.append((step, loss))
            settled = self.plateau.add(step, loss)
        may_stop = self.pace["stop"] == "auto" and step >= self.pace["least_steps"]
        if step % self.pace["preview_every"] == 0 or last or (may_stop and settled):
            self._preview(record)
            if may_stop and (why := worn_out(self.points, self.pace)):
                return "score", why
        if may_stop and settled:
            return "loss", f"the loss on fixed noise has settled by step {step}"
        return ("steps", f"all {step} steps are made") if last else ("", "")

    def _preview(self, record: Record) -> None:
        file = self._word("words", record.step)
        write(file, self._mean(record), self._about())
        with record.rendering() as model:
            pictures = made(model, self.eyes.shots(file), Artifacts(self.desk.studio))
        relative = file.relative_to(self.desk.studio).as_posix()
        validation = self.validations[-1] if self.validations else (0, 0.0)
        loss = validation[1] if validation[0] == record.step else None
        self.points.append(Point(record.step, relative, pictures, self.eyes.measure(pictures), loss))

    def _mean(self, record: Record) -> Embedding:
        """The mean of the word and of itself a little earlier: single steps stray, their middle does so less."""
        steps = [step for step, _ in self.validations if step < record.step][-max(0, self.pace["average"] - 1) :]
        before = [read(self._word("steps", step)) for step in steps] if self.pace["average"] > 1 else []
        return mean([*before, record.embedding])

    def _word(self, kind: str, step: int) -> Path:
        return self.place / kind / f"step-{step:06}.safetensors"

    def _about(self) -> About:
        return About(self.lesson.persona, str(self.lesson.of["model"]), self.lesson.model)

    def _keep(self, step: int, state: bytes, **changes: Any) -> None:
        self._read(wait=True)
        self.training = self.desk.put(
            self.training.but(
                step=step,
                losses=self.losses,
                rates=self.rates,
                validations=self.validations,
                points=self.points,
                seconds=self.seconds,
                machine=machine_of(self.model),
                baseline=list(self.eyes.baseline),
                references=dict(self.eyes.ends),
                **changes,
            ),
            state,
        )


def mean(words: Sequence[Embedding]) -> Embedding:
    from models.sdxl.embedding import Embedding

    tables = zip(*(word.vectors for word in words), strict=True)
    return Embedding(words[-1].token, tuple(sum(each) / len(words) for each in tables))


def worn_out(points: Sequence[Point], pace: Mapping[str, Any]) -> str:
    """Why there is no use in going on: so many previews in a row gained nothing.

    Small gains add up: they count once together they are one. A word that is still far from its references may only be
    resting: it gets more patience before it is given up.
    """
    last = points[0]
    for point in points[1:]:
        if point.measures.score - last.measures.score >= max(pace["gain"], LEAST_GAIN):
            last = point
    patience = pace["patience"] * (1 if best(points).measures.identity >= pace["enough"] else STUBBORN)
    since = len(points) - 1 - list(points).index(last)
    return f"no preview since step {last.step} was better by {pace['gain']:g}" if since >= patience else ""


def best(points: Sequence[Point]) -> Point:
    """The point to keep: the highest score; of equal ones the earliest, which learned least that is not the persona."""
    return max(points, key=lambda point: (point.measures.score, -point.step))


def made(model: Model, shots: Sequence[Shot], artifacts: Artifacts) -> list[str]:
    """The pictures of shots by a model that is loaded, made where they are missing; named from the studio."""
    for picture in model.generate(artifacts.missing(shots)):
        artifacts.save(picture)
    return [artifacts.name(shot.id) for shot in shots]


def examples_of(lesson: Lesson, studio: Path) -> list[Any]:
    from models.inversion import Example

    return [Example(studio / path, own) for path, own in zip(lesson.pictures, lesson.captions, strict=True)]


def config_of(lesson: Lesson) -> Config:
    """The trainer's knobs; an initial embedding is named by its file."""
    from models.inversion import Config

    values = dict(lesson.config)
    if file := values.pop("init_file", ""):
        values["init"] = _initial(Path(file), values["token"], values["init"])
    return Config(**{each.name: values[each.name] for each in fields(Config) if each.name in values})


def _initial(file: Path, token: str, digest: str) -> Embedding:
    word = read(file, token)
    if word.hash != digest:
        raise UserError(f"the initial embedding {file} has changed since this training was planned: put it back")
    return word


def _plateau(pace: Any, before: Sequence[tuple[int, float]]) -> Plateau:
    from models.inversion import Plateau

    return Plateau(pace["plateau_share"], pace["plateau_window"], pace["least_steps"], list(before))


def peak_memory(device: str) -> int:
    """The most that was in use, in bytes: of the GPU, or of this process."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.max_memory_allocated(device)
    import resource
    import sys

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def machine_of(model: Model) -> dict[str, Any]:
    return model.environment() | {"peak_memory": peak_memory(model.device)}
