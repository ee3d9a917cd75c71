"""The report on a reference set: a page that stands alone, and a contact sheet. Chosen first, then each drop with its reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from markupsafe import Markup

from models.picture.reading import open_picture, rgb
from models.scoring.clip import similarity
from models.system.files import write
from tasks.pages import html, svg_charts
from tasks.pages.contact_sheet import contact_sheet
from tasks.references.measurements import Scores, identities
from tasks.references.reference_set import Choice, ReferenceSet, Shelf, Verdict

THUMB, MOST_OF_A_KIND, MOST_IN_MATRIX, MOST_ON_SHEET = 224, 60, 80, 96
GROUPS = {
    "person": "By a person",
    "gate": "At the gates",
    "identity": "Outside the group that is most alike",
    "diversity": "Not needed",
    "": "Not judged",
}
CHARTS = {
    "subject": "Likeness to the class word",
    "prompt": "Likeness to the prompt",
    "identity": "Likeness to the chosen character",
    "sharpness": "Sharpness",
    "spread": "Variation of brightness",
}
WORDS = {"kind": "another kind", "prompt": "not as asked for", "redundant": "not needed", "stranger": "less alike"}


def report(made: ReferenceSet, scores: Scores, studio: Path) -> Path:
    """Write `report.html` and `sheet.png` beside the set; returns the page."""
    place = Shelf(studio, made.persona).place(made.id)
    write(place / "sheet.png", _sheet(made, studio))
    path = place / "report.html"
    write(path, _page(made, scores, studio))
    return path


def _page(made: ReferenceSet, scores: Scores, studio: Path) -> bytes:
    choice = made.choice
    return html.filled(
        "references.html",
        set=made,
        choice=choice,
        lead=_lead(made),
        figures=_figures(choice),
        chosen=[_card(verdict, studio) for verdict in choice.chosen],
        dropped=_groups(choice, studio),
        tally=tally(choice),
        missing=any(finding.missing for finding in choice.findings),
        charts=_charts(choice),
        matrix=Markup(_matrix(choice, scores)),
        matrix_text=_matrix_text(choice),
        settings=sorted(made.settings.items()),
    )


def _lead(made: ReferenceSet) -> str:
    count = len(made.choice.verdicts)
    again = f" Round {made.round}, made with what was learned before." if made.round > 1 else ""
    return (
        f"{len(made.choice.order)} of {count} candidates were chosen to teach {made.token}. "
        f"Every other one is here with the reason why it was dropped.{again}"
    )


def _figures(choice: Choice) -> list[tuple[str, str]]:
    rows = [("candidates", str(len(choice.verdicts))), ("chosen", str(len(choice.order)))]
    for name, text in (
        ("cohesion", "likeness among the chosen"),
        ("effective size", "different pictures they are worth"),
    ):
        if name in choice.figures:
            rows.append((text, f"{choice.figures[name]:.2f}"))
    return rows


def _card(verdict: Verdict, studio: Path) -> dict[str, Any]:
    candidate = verdict.candidate
    kept = ("identity", "prompt", "subject", "sharpness")
    return {
        "src": html.small(studio / candidate.path, THUMB),
        "alt": candidate.prompt or candidate.source or candidate.short,
        "short": candidate.short,
        "prompt": candidate.prompt or candidate.source,
        "reason": verdict.reason,
        "scores": [f"{name} {verdict.scores[name]:.2f}" for name in kept if name in verdict.scores],
    }


def _groups(choice: Choice, studio: Path) -> list[dict[str, Any]]:
    found = []
    for stage, title in GROUPS.items():
        verdicts = [verdict for verdict in choice.dropped if verdict.stage == stage]
        verdicts.sort(key=lambda verdict: verdict.code)  # stable: within a reason in the candidates' order
        if verdicts:
            shown = verdicts[:MOST_OF_A_KIND]
            cards = [_card(verdict, studio) for verdict in shown]
            found.append({"title": f"{title} ({len(verdicts)})", "cards": cards, "more": len(verdicts) - len(shown)})
    return found


def tally(choice: Choice) -> str:
    """How many were dropped for what."""
    counts = Counter(verdict.code for verdict in choice.dropped)
    return ", ".join(f"{count} {WORDS.get(code, code)}" for code, count in counts.most_common()) or "None was dropped."


def _charts(choice: Choice) -> list[dict[str, str]]:
    charts = []
    for name, title in CHARTS.items():
        values = [verdict.scores[name] for verdict in choice.verdicts if name in verdict.scores]
        if values:
            charts.append({"svg": Markup(svg_charts.histogram(values, choice.cuts.get(name), title)), "title": title})
    return charts


def _rows(choice: Choice) -> list[Verdict]:
    """The chosen, then the dropped that are most like them."""
    others = sorted(choice.dropped, key=lambda verdict: -verdict.scores.get("identity", -2.0))
    return [*choice.chosen, *others][:MOST_IN_MATRIX]


def _matrix(choice: Choice, scores: Scores) -> str:
    rows = _rows(choice)
    numbers = {each: number for number, each in enumerate(scores.ids)}
    candidates = [verdict.candidate for verdict in choice.verdicts]
    everyone = identities(scores, candidates, range(len(candidates)))
    vectors = everyone[[numbers[row.candidate.id] for row in rows]]
    return svg_charts.matrix(similarity(vectors, vectors), [row.candidate.short for row in rows], len(choice.order))


def _matrix_text(choice: Choice) -> str:
    shown, count = min(len(choice.verdicts), MOST_IN_MATRIX), len(choice.verdicts)
    some = f"The {shown} most like the chosen of {count}. " if shown < count else ""
    return (
        f"{some}The chosen stand before the dashed line. The darker, the more alike; what background and framing do to a "
        "picture is taken out."
    )


def _sheet(made: ReferenceSet, studio: Path) -> bytes:
    """Chosen first; on each of the others, why not."""
    chosen, dropped = (
        made.choice.chosen,
        sorted(made.choice.dropped, key=lambda v: (list(GROUPS).index(v.stage), v.code)),
    )
    rows: Sequence[Verdict] = [*chosen, *dropped][:MOST_ON_SHEET]
    pictures = [rgb(open_picture(studio / row.candidate.path)) for row in rows]
    captions = [f"{row.candidate.short}\n{row.candidate.prompt or row.candidate.source}" for row in rows]
    banners = ["" if row.status == "chosen" else row.reason for row in rows]
    title = f"References of {made.persona}: {len(chosen)} chosen of {len(made.choice.verdicts)}"
    if len(rows) < len(made.choice.verdicts):
        title += f" (the first {len(rows)} are shown)"
    sheet = contact_sheet(pictures, captions, title, columns=8 if len(rows) > 12 else 0, cell=208, banners=banners)
    return html.png(sheet)


def markdown(made: ReferenceSet, sheet: Path) -> str:
    """The report in short, for Prefect's page: the contact sheet inside, small enough to be stored in a database."""
    lead = escape(_lead(made), quote=False)  # Markdown takes a bare <token> for a tag
    lines = [f"# References of {made.persona}", lead, f"Dropped: {tally(made.choice)}"]
    if made.choice.problem:
        lines.insert(1, f"**No usable set: {made.choice.problem}.**")
    lines += [f"- **{finding.what}**: {finding.consequence}." for finding in made.choice.findings]
    return "\n\n".join([*lines, html.shown(sheet, "contact sheet"), f"Set {made.id}"])


def summary(made: ReferenceSet) -> Mapping[str, Any]:
    """The same in a few numbers, for scripts and logs."""
    counts = Counter(verdict.code for verdict in made.choice.dropped)
    return {
        "persona": made.persona,
        "set": made.id,
        "candidates": len(made.choice.verdicts),
        "chosen": list(made.choice.order),
        "dropped": dict(sorted(counts.items())),
        "findings": [finding.what for finding in made.choice.findings],
        "figures": dict(made.choice.figures),
        "problem": made.choice.problem,
    }
