"""Train a persona's embedding: step by step, with checkpoints and previews, until there is nothing more to learn."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.sdxl.embedding import EmbeddingMetadata, read_embedding, write_embedding
from models.system.errors import UserError
from models.system.processes import broadcast_decision, is_leader
from models.system.progress import show_progress
from tasks.store.picture_files import PictureFiles
from tasks.training.record import Measures, PreviewPoint, TrainingPlan, TrainingRecord, TrainingStore

if TYPE_CHECKING:
    from models.inversion import Config, Plateau, TrainingStep
    from models.picture.shot import Shot
    from models.sdxl.embedding import Embedding
    from models.sdxl.renderer import Renderer

MIN_GAIN = 1e-12  # so that an equal score is no gain
FAR_PATIENCE_FACTOR = 3  # multiplies the patience while identity is still low
SMOOTHED_LOSSES = 20  # number of losses averaged beside the progress bar
Shots = Callable[[Path | None], "list[Shot]"]
"""Returns the preview shots with an embedding's file, or with the class word if None."""


@dataclass(frozen=True)
class PreviewCallbacks:
    """Functions that a training calls to make and measure previews."""

    shots: Shots
    measure: Callable[[Sequence[str]], Measures]
    baseline: Sequence[str] = ()
    """The previews with the class word, for the record."""
    ends: Mapping[str, float] = field(default_factory=dict)
    """The scorer's values for the references and for the class word."""


def train_embedding(
    plan: TrainingPlan, model: Renderer, callbacks: PreviewCallbacks | None, studio: Path
) -> TrainingRecord:
    """Train the embedding, or resume the training of an equal plan; a training that is over is returned as it is.

    In multi-process training only rank 0 has `callbacks`: it previews and writes.
    """
    store = TrainingStore(studio, plan.persona)
    training = store.load_or_new(plan)
    if training.is_over:
        return training
    return _TrainingRun(plan, model, callbacks, store, training).run_training()


class _TrainingRun:
    """Runs one training: the record grows in memory and is saved with every checkpoint."""

    def __init__(
        self,
        plan: TrainingPlan,
        model: Renderer,
        callbacks: PreviewCallbacks | None,
        store: TrainingStore,
        training: TrainingRecord,
    ) -> None:
        self.plan, self.model, self.store = plan, model, store
        self._callbacks = callbacks
        self.folder = store.training_folder(plan.id)
        self.config, self.pace = config_of(plan), plan.pace
        self.training = training
        self.losses, self.rates = list(training.losses), list(training.rates)
        self.validations, self.points = list(training.validations), list(training.points)
        self.seconds = training.seconds
        self.plateau = _new_plateau(self.pace, self.validations)
        self._unread: deque[TrainingStep] = deque()  # losses are read later, without waiting for the GPU

    @property
    def callbacks(self) -> PreviewCallbacks:
        assert self._callbacks, "only the leading process looks"
        return self._callbacks

    def run_training(self) -> TrainingRecord:
        from models.inversion import DivergedError, train_token

        steps = train_token(
            self.model,
            examples_of(self.plan, self.store.studio),
            self.config,
            self.store.read_checkpoint(self.training),
        )
        try:
            self._follow_steps(steps)
        except DivergedError as error:
            self._unread.clear()
            del self.losses[error.step - 1 :], self.rates[error.step - 1 :]
            if is_leader():
                self._save_record(error.step - 1, error.state)
            raise
        return self.training

    def _follow_steps(self, steps: Iterator[TrainingStep]) -> None:
        before = self.training.step
        with show_progress(f"learning {self.plan.token}", self.config.steps * is_leader(), "steps", before) as advance:
            for record in steps:
                self.seconds += record.seconds
                self.rates.append(record.rate)
                self._unread.append(record)
                self._collect_losses(wait=False)
                advance(1, self._progress_note())
                by, reason = (
                    broadcast_decision(self._validate_and_preview(record) if is_leader() else ("", ""))
                    if self._is_check_due(record.step)
                    else ("", "")
                )
                if by and not is_leader():
                    break
                if by:
                    kept_step = best_point(self.points).step
                    self._save_record(record.step, record.pack_state(), stopped=reason, by=by, kept=kept_step)
                    break
                if record.step % self.pace["save_every"] == 0 and is_leader():
                    self._save_record(record.step, record.pack_state())

    def _is_check_due(self, step: int) -> bool:
        return step == self.config.steps or not all(
            step % self.pace[setting] for setting in ("validate_every", "preview_every")
        )

    def _collect_losses(self, wait: bool) -> None:
        while self._unread and (wait or self._unread[0].is_ready):
            self.losses.append(self._unread.popleft().loss)

    def _progress_note(self) -> str:
        """Return the text beside the progress bar: speed, smoothed loss, and peak memory."""
        last = self.losses[-SMOOTHED_LOSSES:]
        loss = f"loss {sum(last) / len(last):.3f}, " if last else ""
        speed = len(self.rates) / self.seconds if self.seconds else 0.0
        return f"{speed:.1f} steps/s, {loss}{peak_memory(self.model.device) / 2**30:.1f} GiB"

    def _validate_and_preview(self, record: TrainingStep) -> tuple[str, str]:
        """Validate and preview if this step is due; return the kind of stop and its reason, or empty texts."""
        step, last, settled = record.step, record.step == self.config.steps, False
        if step % self.pace["validate_every"] == 0 or last:
            write_embedding(self._embedding_path("steps", step), record.current_embedding, self._embedding_metadata())
            loss = record.validation_loss()
            self.validations.append((step, loss))
            settled = self.plateau.add_loss(step, loss)
        may_stop = self.pace["stop"] == "auto" and step >= self.pace["least_steps"]
        if step % self.pace["preview_every"] == 0 or last or (may_stop and settled):
            self._make_preview(record)
            if may_stop and (reason := stop_reason(self.points, self.pace)):
                return "score", reason
        if may_stop and settled:
            return "loss", f"the loss on fixed noise has settled by step {step}"
        return ("steps", f"all {step} steps are made") if last else ("", "")

    def _make_preview(self, record: TrainingStep) -> None:
        file = self._embedding_path("words", record.step)
        write_embedding(file, self._average_embedding(record), self._embedding_metadata())
        with record.model_for_rendering() as model:
            pictures = render_missing(model, self.callbacks.shots(file), PictureFiles(self.store.studio))
        relative = file.relative_to(self.store.studio).as_posix()
        validation = self.validations[-1] if self.validations else (0, 0.0)
        loss = validation[1] if validation[0] == record.step else None
        self.points.append(PreviewPoint(record.step, relative, pictures, self.callbacks.measure(pictures), loss))

    def _average_embedding(self, record: TrainingStep) -> Embedding:
        """Average the embedding with those of the last validations: the mean varies less than single steps."""
        steps = [step for step, _ in self.validations if step < record.step][-max(0, self.pace["average"] - 1) :]
        before = (
            [read_embedding(self._embedding_path("steps", step)) for step in steps] if self.pace["average"] > 1 else []
        )
        return mean_embedding([*before, record.current_embedding])

    def _embedding_path(self, kind: str, step: int) -> Path:
        return self.folder / kind / f"step-{step:06}.safetensors"

    def _embedding_metadata(self) -> EmbeddingMetadata:
        return EmbeddingMetadata(self.plan.persona, str(self.plan.of["model"]), self.plan.model)

    def _save_record(self, step: int, state: bytes, **changes: Any) -> None:
        self._collect_losses(wait=True)
        self.training = self.store.save_training(
            self.training.with_changes(
                step=step,
                losses=self.losses,
                rates=self.rates,
                validations=self.validations,
                points=self.points,
                seconds=self.seconds,
                machine=machine_of(self.model),
                baseline=list(self.callbacks.baseline),
                references=dict(self.callbacks.ends),
                **changes,
            ),
            state,
        )


def mean_embedding(embeddings: Sequence[Embedding]) -> Embedding:
    from models.sdxl.embedding import Embedding

    tables = zip(*(embedding.vectors for embedding in embeddings), strict=True)
    return Embedding(embeddings[-1].token, tuple(sum(column) / len(embeddings) for column in tables))


def stop_reason(points: Sequence[PreviewPoint], pace: Mapping[str, Any]) -> str:
    """Return the reason to stop, if too many previews in a row brought no gain; otherwise an empty text.

    Small gains add up: together they can count as one. An embedding that is still far from its references gets more
    patience, as it may improve again.
    """
    last = points[0]
    for point in points[1:]:
        if point.measures.score - last.measures.score >= max(pace["gain"], MIN_GAIN):
            last = point
    patience = pace["patience"] * (1 if best_point(points).measures.identity >= pace["enough"] else FAR_PATIENCE_FACTOR)
    previews_since = len(points) - 1 - list(points).index(last)
    return f"no preview since step {last.step} was better by {pace['gain']:g}" if previews_since >= patience else ""


def best_point(points: Sequence[PreviewPoint]) -> PreviewPoint:
    """Return the point with the highest score; of equal ones the earliest, which learned least besides the persona."""
    return max(points, key=lambda point: (point.measures.score, -point.step))


def render_missing(model: Renderer, shots: Sequence[Shot], artifacts: PictureFiles) -> list[str]:
    """Render the shots that are missing with a loaded model; return all paths relative to the studio."""
    for picture in model.generate(artifacts.missing_shots(shots)):
        artifacts.save_picture(picture)
    return [artifacts.relative_path(shot.id) for shot in shots]


def examples_of(plan: TrainingPlan, studio: Path) -> list[Any]:
    from models.inversion import TrainingExample

    return [
        TrainingExample(studio / path, captions) for path, captions in zip(plan.pictures, plan.captions, strict=True)
    ]


def config_of(plan: TrainingPlan) -> Config:
    """Return the trainer's configuration; an initial embedding is read from its file."""
    from models.inversion import Config

    values = dict(plan.config)
    if file := values.pop("init_file", ""):
        values["init"] = _load_initial(Path(file), values["token"], values["init"])
    return Config(**{option.name: values[option.name] for option in fields(Config) if option.name in values})


def _load_initial(file: Path, token: str, digest: str) -> Embedding:
    embedding = read_embedding(file, token)
    if embedding.hash != digest:
        raise UserError(f"the initial embedding {file} has changed since this training was planned: put it back")
    return embedding


def _new_plateau(pace: Any, before: Sequence[tuple[int, float]]) -> Plateau:
    from models.inversion import Plateau

    return Plateau(pace["plateau_share"], pace["plateau_window"], pace["least_steps"], list(before))


def peak_memory(device: str) -> int:
    """Return the peak memory in bytes: of the GPU, or of this process."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.max_memory_allocated(device)
    import resource
    import sys

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def machine_of(model: Renderer) -> dict[str, Any]:
    return model.describe_environment() | {"peak_memory": peak_memory(model.device)}
