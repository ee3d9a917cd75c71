"""Report on a reference set: a self-contained page and a contact sheet. Chosen first, then the dropped with their reasons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from markupsafe import Markup

from models.picture.reading import convert_to_rgb, open_picture
from models.scoring.clip import cosine_similarity
from models.system.files import write_file
from tasks.pages import html, svg_charts
from tasks.pages.contact_sheet import contact_sheet
from tasks.references.gates import GATES
from tasks.references.measurements import Scores, identity_vectors
from tasks.references.reference_set import ReferenceChoice, ReferenceSet, ReferenceSetStore, Verdict

THUMB_SIDE, MAX_PER_GROUP, MAX_IN_MATRIX, MAX_ON_SHEET = 224, 60, 80, 96
GROUP_TITLES = {
    "person": "By a person",
    "gate": "At the gates",
    "identity": "Outside the group that is most alike",
    "diversity": "Not needed",
    "": "Not judged",
}
CHART_TITLES = {
    "subject": "Likeness to the class word",
    "prompt": "Likeness to the prompt",
    "identity": "Likeness to the chosen character",
    "sharpness": "Sharpness",
    "spread": "Variation of brightness",
}
REASON_WORDS = {gate.code: gate.label for gate in GATES} | {"redundant": "not needed", "stranger": "less alike"}


def write_report(reference_set: ReferenceSet, scores: Scores, studio: Path) -> Path:
    """Write `report.html` and `sheet.png` beside the set; return the page's path."""
    folder = ReferenceSetStore(studio, reference_set.persona).set_folder(reference_set.id)
    write_file(folder / "sheet.png", _render_sheet(reference_set, studio))
    path = folder / "report.html"
    write_file(path, _render_page(reference_set, scores, studio))
    return path


def _render_page(reference_set: ReferenceSet, scores: Scores, studio: Path) -> bytes:
    choice = reference_set.choice
    return html.render_template(
        "references.html",
        set=reference_set,
        choice=choice,
        lead=_lead_sentence(reference_set),
        figures=_figure_rows(choice),
        chosen=[_candidate_card(verdict, studio) for verdict in choice.chosen],
        dropped=_dropped_groups(choice, studio),
        tally=count_drop_reasons(choice),
        missing=any(finding.missing for finding in choice.findings),
        charts=_histograms(choice),
        matrix=Markup(_similarity_matrix(choice, scores)),
        matrix_text=_matrix_text(choice),
        settings=sorted(reference_set.settings.items()),
    )


def _lead_sentence(reference_set: ReferenceSet) -> str:
    count = len(reference_set.choice.verdicts)
    round_note = f" Round {reference_set.round}, made with what was learned before." if reference_set.round > 1 else ""
    return (
        f"{len(reference_set.choice.order)} of {count} candidates were chosen to teach {reference_set.token}. "
        f"Every other one is here with the reason why it was dropped.{round_note}"
    )


def _figure_rows(choice: ReferenceChoice) -> list[tuple[str, str]]:
    rows = [("candidates", str(len(choice.verdicts))), ("chosen", str(len(choice.order)))]
    for name, text in (
        ("cohesion", "likeness among the chosen"),
        ("effective size", "different pictures they are worth"),
    ):
        if name in choice.figures:
            rows.append((text, f"{choice.figures[name]:.2f}"))
    return rows


def _candidate_card(verdict: Verdict, studio: Path) -> dict[str, Any]:
    candidate = verdict.candidate
    score_names = ("identity", "prompt", "subject", "sharpness")
    return {
        "src": html.thumbnail_data_uri(studio / candidate.path, THUMB_SIDE),
        "alt": candidate.prompt or candidate.source or candidate.short_id,
        "short": candidate.short_id,
        "prompt": candidate.prompt or candidate.source,
        "reason": verdict.reason,
        "scores": [f"{name} {verdict.scores[name]:.2f}" for name in score_names if name in verdict.scores],
    }


def _dropped_groups(choice: ReferenceChoice, studio: Path) -> list[dict[str, Any]]:
    groups = []
    for stage, title in GROUP_TITLES.items():
        verdicts = [verdict for verdict in choice.dropped if verdict.stage == stage]
        verdicts.sort(key=lambda verdict: verdict.code)  # stable: within a reason in the candidates' order
        if verdicts:
            visible = verdicts[:MAX_PER_GROUP]
            cards = [_candidate_card(verdict, studio) for verdict in visible]
            groups.append({"title": f"{title} ({len(verdicts)})", "cards": cards, "more": len(verdicts) - len(visible)})
    return groups


def count_drop_reasons(choice: ReferenceChoice) -> str:
    """Count the dropped candidates by reason."""
    counts = Counter(verdict.code for verdict in choice.dropped)
    return (
        ", ".join(f"{count} {REASON_WORDS.get(code, code)}" for code, count in counts.most_common())
        or "None was dropped."
    )


def _histograms(choice: ReferenceChoice) -> list[dict[str, str]]:
    charts = []
    for name, title in CHART_TITLES.items():
        values = [verdict.scores[name] for verdict in choice.verdicts if name in verdict.scores]
        if values:
            charts.append(
                {"svg": Markup(svg_charts.draw_histogram(values, choice.cuts.get(name), title)), "title": title}
            )
    return charts


def _matrix_rows(choice: ReferenceChoice) -> list[Verdict]:
    """List the chosen, then the dropped that are most like them."""
    others = sorted(choice.dropped, key=lambda verdict: -verdict.scores.get("identity", -2.0))
    return [*choice.chosen, *others][:MAX_IN_MATRIX]


def _similarity_matrix(choice: ReferenceChoice, scores: Scores) -> str:
    rows = _matrix_rows(choice)
    numbers = {candidate_id: number for number, candidate_id in enumerate(scores.ids)}
    candidates = [verdict.candidate for verdict in choice.verdicts]
    everyone = identity_vectors(scores, candidates, range(len(candidates)))
    vectors = everyone[[numbers[row.candidate.id] for row in rows]]
    return svg_charts.draw_likeness_matrix(
        cosine_similarity(vectors, vectors), [row.candidate.short_id for row in rows], len(choice.order)
    )


def _matrix_text(choice: ReferenceChoice) -> str:
    visible_count, count = min(len(choice.verdicts), MAX_IN_MATRIX), len(choice.verdicts)
    scope_note = f"The {visible_count} most like the chosen of {count}. " if visible_count < count else ""
    return (
        f"{scope_note}The chosen stand before the dashed line. The darker, the more alike; what background and framing do to a "
        "picture is taken out."
    )


def _render_sheet(reference_set: ReferenceSet, studio: Path) -> bytes:
    """Draw the contact sheet: the chosen first, then the others with their reasons."""
    chosen_verdicts, dropped_verdicts = (
        reference_set.choice.chosen,
        sorted(reference_set.choice.dropped, key=lambda v: (list(GROUP_TITLES).index(v.stage), v.code)),
    )
    rows: Sequence[Verdict] = [*chosen_verdicts, *dropped_verdicts][:MAX_ON_SHEET]
    pictures = [convert_to_rgb(open_picture(studio / row.candidate.path)) for row in rows]
    captions = [f"{row.candidate.short_id}\n{row.candidate.prompt or row.candidate.source}" for row in rows]
    banners = ["" if row.status == "chosen" else row.reason for row in rows]
    title = (
        f"References of {reference_set.persona}: {len(chosen_verdicts)} chosen of {len(reference_set.choice.verdicts)}"
    )
    if len(rows) < len(reference_set.choice.verdicts):
        title += f" (the first {len(rows)} are shown)"
    sheet = contact_sheet(pictures, captions, title, columns=8 if len(rows) > 12 else 0, cell=208, banners=banners)
    return html.png_bytes(sheet)


def as_markdown(reference_set: ReferenceSet, sheet: Path) -> str:
    """Return a short report with the contact sheet for Prefect's page, small enough to be stored in a database."""
    lead = escape(_lead_sentence(reference_set), quote=False)  # Markdown takes a bare <token> for a tag
    lines = [f"# References of {reference_set.persona}", lead, f"Dropped: {count_drop_reasons(reference_set.choice)}"]
    if reference_set.choice.problem:
        lines.insert(1, f"**No usable set: {reference_set.choice.problem}.**")
    lines += [f"- **{finding.what}**: {finding.consequence}." for finding in reference_set.choice.findings]
    return "\n\n".join([*lines, html.markdown_image(sheet, "contact sheet"), f"Set {reference_set.id}"])


def summary_values(reference_set: ReferenceSet) -> Mapping[str, Any]:
    """Return the report's main values, for scripts and logs."""
    counts = Counter(verdict.code for verdict in reference_set.choice.dropped)
    return {
        "persona": reference_set.persona,
        "set": reference_set.id,
        "candidates": len(reference_set.choice.verdicts),
        "chosen": list(reference_set.choice.order),
        "dropped": dict(sorted(counts.items())),
        "findings": [finding.what for finding in reference_set.choice.findings],
        "figures": dict(reference_set.choice.figures),
        "problem": reference_set.choice.problem,
    }
