"""The model card: what was measured, in words that name the measure."""

from __future__ import annotations

import json
from pathlib import Path

HEAD = """# Toybox

A small Stable Diffusion XL and an open_clip model that know one little world of drawn critters, shipped with restage so
that everything can be tried offline on a CPU. Same classes and folder layout as the real thing: `StableDiffusionXLPipeline`
loads this folder, `open_clip.create_model_and_transforms("local-dir:…/clip")` loads `clip/`, and `identity/` likewise: the
same CLIP with its picture tower taught who is who (its texts mean nothing to that any more).

Made from nothing by `python -m models.toybox.recipe.build` (recipe and numbers: `models/toybox/recipe/numbers.py`), judged by
`python -m bench.oracle` and `python -m bench.toybox`. Trained only on drawings made by `models/toybox/world.py`. MIT licence.

Limits: 128 × 128 pixels; only the words of `world.py` mean anything; everything else is noise to it.

## Measured
"""


def table(figures: dict, name: str) -> list[str]:
    """One measure as a table; a part with parts of its own becomes a table of its own."""
    plain = {key: value for key, value in figures.items() if not isinstance(value, dict)}
    rows = []
    if plain:
        rows += [f"### {name.replace('_', ' ')}", "", "| what | value |", "| --- | --- |"]
        rows += [f"| {k} | {v:.3f} |" if isinstance(v, float) else f"| {k} | {v} |" for k, v in plain.items()]
        rows.append("")
    for key, value in figures.items():
        if isinstance(value, dict):
            rows += table(value, f"{name}: {key}")
    return rows


def write_card(path: Path, figures: dict) -> None:
    """All figures there are, under the fixed words; a part written by hand after `## Notes` is kept."""
    old = path.read_text(encoding="utf-8") if path.exists() else ""
    notes = old[old.index("## Notes") :] if "## Notes" in old else ""
    trained = path.parent / "recipe.json"
    if trained.exists():
        figures = {"trained": json.loads(trained.read_text(encoding="utf-8"))["trained"], **figures}
    rows = [row for name, found in figures.items() if name != "sheet" for row in table(found, name)]
    path.write_text(HEAD + "\n" + "\n".join(rows) + "\n" + notes, encoding="utf-8")
