"""Collect the candidates for references: shots from the persona's prompt and seed, or the user's own pictures."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from models.picture.shot import Shot
from tasks.persona import persona as personas
from tasks.persona.persona import Persona
from tasks.references.reference_set import ReferenceCandidate
from tasks.settings.sections import ReferenceSettings
from tasks.store.picture_files import PictureFiles

Cell = Mapping[str, str]


@dataclass(frozen=True)
class CandidatePlan:
    """Describes which candidates to make: for a persona, with cells that were missing and the embedding learned so far."""

    persona: Persona
    count: int
    keep: int
    extra: tuple[Cell, ...] = ()
    embedding: Path | None = None
    round: int = 1

    @classmethod
    def for_persona(
        cls, persona: Persona, settings: ReferenceSettings, embedding: Path | None = None, round: int = 1
    ) -> CandidatePlan:
        """Plan the first candidates from the persona's file, with the settings as defaults."""
        references = persona.references
        return cls(
            persona,
            references.candidates or settings.candidates,
            references.keep or settings.keep,
            (),
            embedding,
            round,
        )

    def with_cells(self, cells: Sequence[Cell]) -> CandidatePlan:
        """Return a plan with candidates for these cells as well; a cell that is requested again gets another seed."""
        return dataclasses.replace(self, extra=(*self.extra, *cells))

    def candidate_cells(self) -> list[Cell]:
        """List the cell of every candidate, in order."""
        return [*personas.candidate_cells(self.persona, self.count), *self.extra]

    def candidate_prompts(self) -> list[str]:
        subject = self.persona.token if self.embedding else None
        return [personas.prompt_for(self.persona, cell, subject) for cell in self.candidate_cells()]

    def candidate_seeds(self) -> list[int]:
        """Derive the seeds from the persona's seed and the candidate's number; they do not depend on the prompt."""
        return [personas.seed_for(self.persona, number) for number in range(len(self.candidate_cells()))]

    def setting_overrides(self) -> dict[str, Any]:
        """Return the values in which the persona differs from the settings."""
        references = self.persona.references
        overrides = {"negative": references.negative, "guidance": references.guidance, "steps": references.steps}
        return {name: value for name, value in overrides.items() if value is not None}


@dataclass(frozen=True)
class CandidatePool:
    """Candidates, and the files that could not become candidates."""

    candidates: Sequence[ReferenceCandidate]
    side: int
    skipped: Sequence[tuple[str, str]] = ()

    @property
    def candidate_ids(self) -> list[str]:
        return [candidate.id for candidate in self.candidates]


def from_shots(plan: CandidatePlan, shots: Sequence[Shot], artifacts: PictureFiles) -> CandidatePool:
    """Return the candidates that show these shots; a shot that two cells share counts once."""
    candidates: dict[str, ReferenceCandidate] = {}
    for number, (shot, cell) in enumerate(zip(shots, plan.candidate_cells(), strict=True)):
        path = artifacts.picture_path(shot.id).relative_to(artifacts.root.parent).as_posix()
        candidates.setdefault(shot.id, ReferenceCandidate(shot.id, path, shot.prompt, dict(cell), number, shot.seed))
    return CandidatePool(list(candidates.values()), min(shots[0].width, shots[0].height))


class PreparedPicture(Protocol):
    """Protocol of a user's own picture at the model's size."""

    @property
    def source(self) -> Path: ...
    @property
    def path(self) -> Path: ...
    @property
    def hash(self) -> str: ...
    @property
    def caption(self) -> str: ...
    @property
    def upscaled(self) -> bool: ...


class FileWithReason(Protocol):
    """Protocol of a file that was skipped, with the reason."""

    @property
    def path(self) -> Path: ...
    @property
    def reason(self) -> str: ...


def from_folder(
    pictures: Sequence[PreparedPicture], skipped: Sequence[FileWithReason], side: int, artifacts: PictureFiles
) -> CandidatePool:
    """Return candidates made from the user's own pictures."""
    candidates = [
        ReferenceCandidate(
            id=picture.hash[:24],
            path=picture.path.relative_to(artifacts.root.parent).as_posix(),
            prompt=picture.caption,
            number=number,
            source=_printable_name(picture.source),
            upscaled=picture.upscaled,
        )
        for number, picture in enumerate(pictures)
    ]
    return CandidatePool(candidates, side, [(_printable_name(file.path), file.reason) for file in skipped])


def _printable_name(file: Path) -> str:
    """Return the file's name as UTF-8 text; bytes that are not UTF-8, as in old archives, become replacement characters."""
    return os.fsencode(file.name).decode("utf-8", "replace")
