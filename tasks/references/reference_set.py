"""Candidates, what was decided about each, and the reference set that came of it: the words that the steps share."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models.system.errors import UserError
from models.system.files import write
from tasks.persona.persona import Persona
from tasks.settings.sections import References

Status = str  # "chosen" or "dropped"
STAGES = ("person", "gate", "identity", "diversity")


@dataclass(frozen=True)
class Candidate:
    """A picture that may become a reference."""

    id: str
    """The shot's id, or the pixels' hash of a picture of one's own."""
    path: str
    """Where the picture is, from the studio."""
    prompt: str = ""
    cell: Mapping[str, str] = field(default_factory=dict)
    """Which phrase of each axis of the shot matrix it was asked for."""
    number: int = 0
    seed: int | None = None
    source: str = ""
    """The file it came from, for a picture of one's own."""
    upscaled: bool = False

    @property
    def short(self) -> str:
        return self.id[:8]


@dataclass(frozen=True)
class Verdict:
    """Why a candidate was kept or dropped, in words, and the numbers behind it."""

    candidate: Candidate
    status: Status
    stage: str
    """Which stage decided: person, gate, identity or diversity."""
    reason: str
    code: str
    """The reason in one word, for counting: blank, blurred, duplicate, stranger …"""
    scores: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Finding:
    """Something the chosen set would teach by mistake, and the shots that would mend it."""

    code: str
    what: str
    consequence: str
    missing: Sequence[Mapping[str, str]] = ()
    """Cells of the matrix to make more candidates of."""


@dataclass(frozen=True)
class Choice:
    """The outcome of one filtering: a verdict on every candidate, in order; chosen ones in the order of choice."""

    verdicts: Sequence[Verdict]
    order: Sequence[str]
    """The ids of the chosen, best first."""
    cuts: Mapping[str, float]
    findings: Sequence[Finding] = ()
    figures: Mapping[str, float] = field(default_factory=dict)
    """Of the chosen set: cohesion, effective size …"""
    problem: str = ""
    """Why there is no usable set, in a sentence; empty where there is one."""

    @property
    def chosen(self) -> list[Verdict]:
        by_id = {verdict.candidate.id: verdict for verdict in self.verdicts}
        return [by_id[each] for each in self.order]

    @property
    def dropped(self) -> list[Verdict]:
        return [verdict for verdict in self.verdicts if verdict.status == "dropped"]


@dataclass(frozen=True)
class ReferenceSet:
    """A choice as it stands on disk, with what it was made from."""

    persona: str
    token: str
    round: int
    settings: Mapping[str, Any]
    scorer: str
    choice: Choice
    skipped: Sequence[Sequence[str]] = ()
    """Files that could not become candidates, and why."""

    @classmethod
    def of(
        cls,
        persona: Persona,
        round: int,
        knobs: References,
        scorer: str,
        choice: Choice,
        skipped: Sequence[tuple[str, str]] = (),
    ) -> ReferenceSet:
        return cls(persona.name, persona.token, round, knobs.model_dump(mode="json"), scorer, choice, skipped)

    @property
    def id(self) -> str:
        """Names the choice and all that led to it."""
        return hashlib.sha256(self.as_json().encode()).hexdigest()[:16]

    def as_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=1, sort_keys=True, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> ReferenceSet:
        values = json.loads(text)
        choice = values.pop("choice")
        verdicts = [Verdict(**(each | {"candidate": Candidate(**each["candidate"])})) for each in choice["verdicts"]]
        findings = [Finding(**each) for each in choice["findings"]]
        return cls(**values, choice=Choice(**(choice | {"verdicts": verdicts, "findings": findings})))


def enough_rounds(distances: Sequence[float], knobs: References) -> str:
    """Why no further round is worth making, or nothing; `distances` are the rounds' so far, each set's `distance` figure."""
    if len(distances) >= knobs.rounds:
        return f"{len(distances)} of {knobs.rounds} rounds are made"
    if len(distances) > 1 and distances[-1] < knobs.rounds_share * distances[0]:
        share = distances[-1] / distances[0]
        return f"the candidates differ by {share:.0%} of the first round's distance, under {knobs.rounds_share:.0%}"
    return ""


class Shelf:
    """The reference sets of one persona: every one is kept, a small file says which is current."""

    def __init__(self, studio: Path, persona: str) -> None:
        self.studio = studio
        self.folder = studio / "references" / persona
        self._current = self.folder / "current.json"
        self._overrules = self.folder / "overrules.json"

    def place(self, set_id: str) -> Path:
        return self.folder / set_id

    def put(self, made: ReferenceSet, current: bool = True) -> Path:
        """Keep the set; where it is usable it becomes the current one."""
        path = self.place(made.id) / "set.json"
        if not path.exists():
            write(path, made.as_json().encode())
        if current:
            write(self._current, (json.dumps({"set": made.id}) + "\n").encode())
        return path

    def current(self) -> ReferenceSet | None:
        """The set that a training would learn from, or None where there is none yet."""
        if not self._current.exists():
            return None
        return self.read(str(_json(self._current)["set"]))

    def read(self, set_id: str) -> ReferenceSet:
        path = self.place(set_id) / "set.json"
        try:
            return ReferenceSet.from_json(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise UserError(f"{path} is not a readable reference set ({error}): make the references again") from None

    def overrules(self) -> dict[str, str]:
        """What a person decided: `keep` or `drop` by candidate id."""
        if not self._overrules.exists():
            return {}
        found = _json(self._overrules)
        if not all(value in ("keep", "drop") for value in found.values()):
            raise UserError(f"{self._overrules} says something other than keep or drop: mend the file or move it away")
        return {str(key): str(value) for key, value in found.items()}

    def overrule(self, known: Iterable[str], keep: Sequence[str], drop: Sequence[str], forget: Sequence[str]) -> None:
        """Remember a person's decisions; ids may be shortened as long as they are clear."""
        ids = list(known)
        rules = self.overrules()
        for asked, decision in (*((k, "keep") for k in keep), *((d, "drop") for d in drop), *((f, "") for f in forget)):
            full = _full(asked, [*ids, *(each for each in rules if each not in ids)])
            if decision:
                rules[full] = decision
            else:
                rules.pop(full, None)
        write(self._overrules, (json.dumps(rules, indent=1, sort_keys=True) + "\n").encode())


def _full(asked: str, ids: Sequence[str]) -> str:
    found = [each for each in ids if each.startswith(asked)] if asked else []
    if len(found) != 1:
        how = "no candidate has" if not found else f"{len(found)} candidates have"
        raise UserError(f"{how} an id that begins with {asked!r}: take it from under the picture on the report")
    return found[0]


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}): move it away, then run the command again") from None
    if not isinstance(found, dict):
        raise UserError(f"{path} is not what restage wrote there: move it away, then run the command again")
    return found
