"""The gates that every candidate of a post has to pass: arithmetic on what `measure` measured, with a reason for each.

`GATES` has them all, the plainest first. A new gate is one entry there, with its limit in `GateSettings` and settings.toml;
one that needs more than `CandidateMeasurements` brings its `examine`. Nothing else knows the gates by name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
from PIL import Image

from tasks.pictures.gates import Gate, GateVerdict
from tasks.posts.post import PostCandidate
from tasks.settings.sections import GateSettings

DEFAULT_DISTANCE = 0.02
"""Assumed distance between pictures of one shot, where there is only one picture."""
IDENTITY_STEP = 0.1
"""Identities that differ by less count as equal, and the prompt decides."""


@dataclass(frozen=True, eq=False)
class CandidateMeasurements:
    """The measurements of one picture."""

    spread: float
    """Spread of its brightness, of 255."""
    detail: float
    """Its fine detail, as a share of the detail in pictures of the class word."""
    identity: float | None
    """0: as like the references as any picture of the class; 1: as like them as they are to each other. None: the prompt
    does not name the token, or the scorer cannot tell."""
    prompt: float | None
    """1: it obeys its prompt as well as pictures of the class word obey theirs; 0: as like other prompts as its own.
    None: the scorer cannot tell."""
    unwanted: Mapping[str, float] = field(default_factory=dict)
    """For each concept, how much more the picture resembles it than the class word, and than usual pictures of it do."""
    likeness: int = 0
    """Its perceptual hash."""
    seen: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    """CLIP's unit vector."""
    examined: Mapping[str, float] = field(default_factory=dict)
    """What gates with an `examine` of their own measured, by code."""

    def scores(self) -> dict[str, float]:
        """Return the measured numbers for people, rounded."""
        scores = {"identity": self.identity, "prompt": self.prompt, "detail": self.detail, "spread": self.spread}
        scores |= {f"unwanted {name}": value for name, value in self.unwanted.items()}
        scores |= self.examined
        return {name: round(float(value), 3) for name, value in scores.items() if value is not None}


@dataclass(frozen=True, eq=False)
class ExistingPicture:
    """A picture that is published or waiting."""

    post: str
    likeness: int | None
    """Its perceptual hash; None where only the vector is given."""
    seen: np.ndarray | None = None


@dataclass(frozen=True)
class GateContext:
    """What a candidate is judged by, apart from its own measurements."""

    settings: GateSettings
    token: str = ""
    class_word: str = ""
    existing: Sequence[ExistingPicture] = ()
    """Pictures of other posts."""
    usual: float = 0.0
    """The median CLIP distance between the candidates of its shot."""


@dataclass(frozen=True, kw_only=True)
class PostGate(Gate):
    """A gate for candidates of posts: its values of a candidate, each compared with its limit."""

    measure: Callable[[CandidateMeasurements], Mapping[str, float | None]] | None = None
    """Returns its values by name; None where the scorer cannot tell. By default, what `examine` measured."""
    limit: Callable[[GateSettings], float] = lambda settings: 0.0
    examine: Callable[[Image.Image], float] | None = None
    """Measures a candidate's pixels, for a gate that needs more than `CandidateMeasurements`."""

    def judge(self, measured: CandidateMeasurements, context: GateContext) -> GateVerdict:
        """Return the verdict on the first value that fails, or on the last value."""
        verdict = GateVerdict(self.code, True)
        limit = self.limit(context.settings)
        words = {"token": context.token, "class_word": context.class_word}
        for name, value in self._values(measured).items():
            if value is not None and not (verdict := self.compare(value, limit, name=name, **words)).passed:
                break
        return verdict

    def _values(self, measured: CandidateMeasurements) -> Mapping[str, float | None]:
        return self.measure(measured) if self.measure else {self.code: measured.examined.get(self.code)}


@dataclass(frozen=True, kw_only=True)
class DuplicateGate(PostGate):
    """Compares a candidate with the pictures of other posts: by the pattern of pixels and by CLIP."""

    def judge(self, measured: CandidateMeasurements, context: GateContext) -> GateVerdict:
        settings, cut = context.settings, context.settings.duplicate_share * context.usual
        for picture in context.existing:
            bits = 64 if picture.likeness is None else (measured.likeness ^ picture.likeness).bit_count()
            if bits <= settings.duplicate_bits:
                text = f"of the picture of post {picture.post}, the same pattern but for {bits} of 64 bits"
                return GateVerdict(self.code, False, bits, text)
            if cut and picture.seen is not None and (apart := 1 - float(measured.seen @ picture.seen)) < cut:
                text = f"of the picture of post {picture.post}, {apart:.4f} apart in CLIP's eyes, under {cut:.4f}"
                return GateVerdict(self.code, False, apart, text)
        return GateVerdict(self.code, True)


DUPLICATE = DuplicateGate(code="duplicate", label="like another post")
GATES: tuple[PostGate, ...] = (
    PostGate(
        code="blank",
        label="blank",
        measure=lambda measured: {"spread": measured.spread},
        limit=lambda settings: settings.blank_spread,
        sentence="its brightness varies by {value:.1f} of 255, under {limit:g}",
    ),
    PostGate(
        code="blurred",
        label="blurred",
        measure=lambda measured: {"detail": measured.detail},
        limit=lambda settings: settings.detail,
        sentence="{value:.0%} of the fine detail that any {class_word} has, under {limit:.0%}",
    ),
    PostGate(
        code="unwanted",
        label="with something unwanted",
        measure=lambda measured: measured.unwanted,
        limit=lambda settings: settings.unwanted_margin,
        sentence="more like {name!r} than any {class_word} is, by {value:.3f}, over {limit:g}",
        rejects_over=True,
    ),
    PostGate(
        code="stranger",
        label="not the character",
        measure=lambda measured: {"identity": measured.identity},
        limit=lambda settings: settings.identity,
        sentence="{value:.2f} of the way from any {class_word} to the references of {token}, under {limit:g}",
    ),
    PostGate(
        code="disobedient",
        label="not what was asked for",
        measure=lambda measured: {"prompt": measured.prompt},
        limit=lambda settings: settings.prompt,
        sentence="it obeys its prompt {value:.2f} times as well as a {class_word} does, under {limit:g}",
    ),
    DUPLICATE,
)
GATE_LABELS = {gate.code: gate.label for gate in GATES}


def examine_picture(picture: Image.Image, gates: Iterable[PostGate] = GATES) -> dict[str, float]:
    """Measure what gates with an `examine` of their own need."""
    return {gate.code: gate.examine(picture) for gate in gates if gate.examine}


def judge_measurements(
    measured: CandidateMeasurements, context: GateContext, gates: Iterable[PostGate] = GATES
) -> list[GateVerdict]:
    """Return the verdicts of the gates in order, up to the first that rejects the picture."""
    verdicts = []
    for gate in gates:
        verdicts.append(gate.judge(measured, context))
        if not verdicts[-1].passed:
            break
    return verdicts


def _rejection_text(verdicts: Iterable[GateVerdict]) -> str:
    """Return the reason as it is stored with a candidate: code and sentence; empty if all gates passed."""
    return next((f"{verdict.gate}: {verdict.sentence}" for verdict in verdicts if not verdict.passed), "")


def rejection_reason(measured: CandidateMeasurements, settings: GateSettings, token: str, class_word: str) -> str:
    """Return why a picture is rejected, apart from other posts; an empty text where it passes."""
    return _rejection_text(judge_measurements(measured, GateContext(settings, token, class_word)))


def duplicate_reason(
    measured: CandidateMeasurements, existing: Sequence[ExistingPicture], usual: float, settings: GateSettings
) -> str:
    """Return which picture in use this one duplicates; an empty text where it duplicates none."""
    return _rejection_text([DUPLICATE.judge(measured, GateContext(settings, existing=existing, usual=usual))])


def median_distance(measured: Sequence[CandidateMeasurements]) -> float:
    """Return the median CLIP distance between the candidates of one shot."""
    pairs = [1 - float(one.seen @ other.seen) for one, other in combinations(measured, 2)]
    return float(np.median(pairs)) if pairs else DEFAULT_DISTANCE


def acceptance_summary(measured: CandidateMeasurements, token: str) -> str:
    """Summarize why a picture passed."""
    identity = "" if measured.identity is None else f"{measured.identity:.2f} like the references of {token}"
    prompt = "" if measured.prompt is None else f"{measured.prompt:.2f} as its prompt asks"
    return f"passed: {', '.join(filter(None, (identity, prompt))) or 'nothing speaks against it'}"


def best_first(candidates: Iterable[PostCandidate]) -> list[PostCandidate]:
    """Sort the candidates that passed by identity, and by prompt where identities are nearly equal."""
    return sorted((candidate for candidate in candidates if candidate.passed), key=_sort_key)


def _sort_key(candidate: PostCandidate) -> tuple[float, float, int]:
    identity = min(candidate.scores.get("identity", 1.0), 1.0)
    return -round(identity / IDENTITY_STEP), -candidate.scores.get("prompt", 0.0), candidate.number


def reason_code(reason: str) -> str:
    """Return the code that begins a candidate's stored reason, as `_rejection_text` writes it; `passed` if it passed."""
    return reason.partition(":")[0]


def count_reasons(candidates: Sequence[PostCandidate]) -> str:
    """Count the rejected candidates by reason, such as `5 not the character, 1 blurred`."""
    counts = Counter(reason_code(candidate.reason) for candidate in candidates if not candidate.passed)
    return ", ".join(f"{count} {GATE_LABELS.get(code, code)}" for code, count in counts.most_common())
