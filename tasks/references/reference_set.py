"""Candidates, the verdict on each, and the resulting reference set: the types that the steps share."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models.system.errors import UserError
from models.system.files import write_file
from tasks.persona.persona import Persona
from tasks.settings.sections import ReferenceSettings

Status = str  # "chosen" or "dropped"
STAGES = ("person", "gate", "identity", "diversity")


@dataclass(frozen=True)
class ReferenceCandidate:
    """A picture that may become a reference."""

    id: str
    """The shot's id, or the pixel hash of a user's own picture."""
    path: str
    """The picture's path relative to the studio."""
    prompt: str = ""
    cell: Mapping[str, str] = field(default_factory=dict)
    """The phrase of each axis of the shot matrix that its prompt has."""
    number: int = 0
    seed: int | None = None
    source: str = ""
    """The file it came from, for a user's own picture."""
    upscaled: bool = False

    @property
    def short_id(self) -> str:
        return self.id[:8]


@dataclass(frozen=True)
class Verdict:
    """The decision about a candidate, with its reason and scores."""

    candidate: ReferenceCandidate
    status: Status
    stage: str
    """The stage that decided: person, gate, identity or diversity."""
    reason: str
    code: str
    """The reason in one word, for counting: blank, blurred, duplicate, stranger …"""
    scores: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Finding:
    """Something that the chosen set would teach by mistake, and the shots that would prevent it."""

    code: str
    what: str
    consequence: str
    missing: Sequence[Mapping[str, str]] = ()
    """Cells of the matrix to make more candidates of."""


@dataclass(frozen=True)
class ReferenceChoice:
    """The result of choosing references: a verdict on every candidate, in order, and the chosen in order of choice."""

    verdicts: Sequence[Verdict]
    order: Sequence[str]
    """The ids of the chosen, best first."""
    cuts: Mapping[str, float]
    findings: Sequence[Finding] = ()
    figures: Mapping[str, float] = field(default_factory=dict)
    """Figures of the chosen set: cohesion, effective size …"""
    problem: str = ""
    """The reason why there is no usable set, in a sentence; empty if there is one."""

    @property
    def chosen(self) -> list[Verdict]:
        by_id = {verdict.candidate.id: verdict for verdict in self.verdicts}
        return [by_id[candidate_id] for candidate_id in self.order]

    @property
    def dropped(self) -> list[Verdict]:
        return [verdict for verdict in self.verdicts if verdict.status == "dropped"]


@dataclass(frozen=True)
class ReferenceSet:
    """A stored choice, with the settings and scorer that led to it."""

    persona: str
    token: str
    round: int
    settings: Mapping[str, Any]
    scorer: str
    choice: ReferenceChoice
    skipped: Sequence[Sequence[str]] = ()
    """Files that could not become candidates, with the reason."""

    @classmethod
    def from_choice(
        cls,
        persona: Persona,
        round: int,
        settings: ReferenceSettings,
        scorer: str,
        choice: ReferenceChoice,
        skipped: Sequence[tuple[str, str]] = (),
    ) -> ReferenceSet:
        return cls(persona.name, persona.token, round, settings.model_dump(mode="json"), scorer, choice, skipped)

    @property
    def id(self) -> str:
        """Return the hash of the choice and all that led to it."""
        return hashlib.sha256(self.as_json().encode()).hexdigest()[:16]

    def as_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=1, sort_keys=True, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> ReferenceSet:
        values = json.loads(text)
        choice = values.pop("choice")
        verdicts = [
            Verdict(**(verdict | {"candidate": ReferenceCandidate(**verdict["candidate"])}))
            for verdict in choice["verdicts"]
        ]
        findings = [Finding(**finding) for finding in choice["findings"]]
        return cls(**values, choice=ReferenceChoice(**(choice | {"verdicts": verdicts, "findings": findings})))


def stop_rounds_reason(distances: Sequence[float], settings: ReferenceSettings) -> str:
    """Return the reason to make no further round, or an empty text; `distances` are the sets' `distance` figures."""
    if len(distances) >= settings.rounds:
        return f"{len(distances)} of {settings.rounds} rounds are made"
    if len(distances) > 1 and distances[-1] < settings.rounds_share * distances[0]:
        share = distances[-1] / distances[0]
        return f"the candidates differ by {share:.0%} of the first round's distance, under {settings.rounds_share:.0%}"
    return ""


class ReferenceSetStore:
    """Stores the reference sets of one persona: all are kept, and a small file names the current one."""

    def __init__(self, studio: Path, persona: str) -> None:
        self.studio = studio
        self.folder = studio / "references" / persona
        self._current = self.folder / "current.json"
        self._overrules = self.folder / "overrules.json"

    def set_folder(self, set_id: str) -> Path:
        return self.folder / set_id

    def save_set(self, reference_set: ReferenceSet, current: bool = True) -> Path:
        """Save the set; with `current` it becomes the current one."""
        path = self.set_folder(reference_set.id) / "set.json"
        if not path.exists():
            write_file(path, reference_set.as_json().encode())
        if current:
            write_file(self._current, (json.dumps({"set": reference_set.id}) + "\n").encode())
        return path

    def current_set(self) -> ReferenceSet | None:
        """Return the set that a training would learn from, or None if there is none yet."""
        if not self._current.exists():
            return None
        return self.load_set(str(_read_object(self._current)["set"]))

    def load_set(self, set_id: str) -> ReferenceSet:
        path = self.set_folder(set_id) / "set.json"
        try:
            return ReferenceSet.from_json(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise UserError(f"{path} is not a readable reference set ({error}): make the references again") from None

    def manual_decisions(self) -> dict[str, str]:
        """Return a person's decisions: `keep` or `drop` by candidate id."""
        if not self._overrules.exists():
            return {}
        decisions = _read_object(self._overrules)
        if not all(value in ("keep", "drop") for value in decisions.values()):
            raise UserError(f"{self._overrules} says something other than keep or drop: mend the file or move it away")
        return {str(key): str(value) for key, value in decisions.items()}

    def decide_manually(
        self, candidate_ids: Iterable[str], keep: Sequence[str], drop: Sequence[str], forget: Sequence[str]
    ) -> None:
        """Save a person's decisions; ids may be shortened as long as they are unique."""
        ids = list(candidate_ids)
        rules = self.manual_decisions()
        for id_prefix, decision in (
            *((k, "keep") for k in keep),
            *((d, "drop") for d in drop),
            *((f, "") for f in forget),
        ):
            full = _complete_id(id_prefix, [*ids, *(candidate_id for candidate_id in rules if candidate_id not in ids)])
            if decision:
                rules[full] = decision
            else:
                rules.pop(full, None)
        write_file(self._overrules, (json.dumps(rules, indent=1, sort_keys=True) + "\n").encode())


def _complete_id(id_prefix: str, ids: Sequence[str]) -> str:
    matches = [candidate_id for candidate_id in ids if candidate_id.startswith(id_prefix)] if id_prefix else []
    if len(matches) != 1:
        count_text = "no candidate has" if not matches else f"{len(matches)} candidates have"
        raise UserError(
            f"{count_text} an id that begins with {id_prefix!r}: take it from under the picture on the report"
        )
    return matches[0]


def _read_object(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}): move it away, then run the command again") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} is not what restage wrote there: move it away, then run the command again")
    return content
