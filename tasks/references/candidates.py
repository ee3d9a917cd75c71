"""Which pictures may become references: shots from the persona's prompt and seed, or pictures of one's own."""

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
from tasks.references.reference_set import Candidate
from tasks.settings.sections import References
from tasks.store.picture_files import Artifacts

Cell = Mapping[str, str]


@dataclass(frozen=True)
class Plan:
    """What to make candidates from: the persona, cells that were found missing, and what was learned so far."""

    persona: Persona
    count: int
    keep: int
    extra: tuple[Cell, ...] = ()
    word: Path | None = None
    round: int = 1

    @classmethod
    def first(cls, persona: Persona, knobs: References, word: Path | None = None, round: int = 1) -> Plan:
        """As the persona says, and the settings where it says nothing."""
        own = persona.references
        return cls(persona, own.candidates or knobs.candidates, own.keep or knobs.keep, (), word, round)

    def with_cells(self, cells: Sequence[Cell]) -> Plan:
        """The plan with candidates for these cells as well; the same cell asked for again gets another seed."""
        return dataclasses.replace(self, extra=(*self.extra, *cells))

    def cells(self) -> list[Cell]:
        """The cell of every candidate, in order."""
        return [*personas.cells(self.persona, self.count), *self.extra]

    def prompts(self) -> list[str]:
        subject = self.persona.token if self.word else None
        return [personas.prompt_for(self.persona, cell, subject) for cell in self.cells()]

    def seeds(self) -> list[int]:
        """Derived from the persona's seed and the candidate's number: another word in the prompt leaves them."""
        return [personas.seed_for(self.persona, number) for number in range(len(self.cells()))]

    def changes(self) -> dict[str, Any]:
        """What the persona says otherwise than the settings."""
        own = self.persona.references
        found = {"negative": own.negative, "guidance": own.guidance, "steps": own.steps}
        return {name: value for name, value in found.items() if value is not None}


@dataclass(frozen=True)
class Gathered:
    """The candidates, and the files that could not become any."""

    candidates: Sequence[Candidate]
    side: int
    skipped: Sequence[tuple[str, str]] = ()

    @property
    def ids(self) -> list[str]:
        return [candidate.id for candidate in self.candidates]


def from_shots(plan: Plan, shots: Sequence[Shot], artifacts: Artifacts) -> Gathered:
    """The candidates whose pictures these shots are; a shot that two cells share counts once."""
    found: dict[str, Candidate] = {}
    for number, (shot, cell) in enumerate(zip(shots, plan.cells(), strict=True)):
        path = artifacts.picture(shot.id).relative_to(artifacts.root.parent).as_posix()
        found.setdefault(shot.id, Candidate(shot.id, path, shot.prompt, dict(cell), number, shot.seed))
    return Gathered(list(found.values()), min(shots[0].width, shots[0].height))


class Own(Protocol):
    """A picture of one's own, brought to the model's size."""

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


class Skipped(Protocol):
    """A file that was passed over."""

    @property
    def path(self) -> Path: ...
    @property
    def reason(self) -> str: ...


def from_folder(pictures: Sequence[Own], skipped: Sequence[Skipped], side: int, artifacts: Artifacts) -> Gathered:
    """Candidates from pictures of one's own."""
    found = [
        Candidate(
            id=picture.hash[:24],
            path=picture.path.relative_to(artifacts.root.parent).as_posix(),
            prompt=picture.caption,
            number=number,
            source=_told(picture.source),
            upscaled=picture.upscaled,
        )
        for number, picture in enumerate(pictures)
    ]
    return Gathered(found, side, [(_told(each.path), each.reason) for each in skipped])


def _told(file: Path) -> str:
    """A name as it can be written down: what is no UTF-8, as from old archives, becomes question marks."""
    return os.fsencode(file.name).decode("utf-8", "replace")
