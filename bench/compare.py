"""Do two runs agree? `python -m bench.compare ONE.json OTHER.json`, two files as bench/results/<machine>.json.

Ratios of two ways that took turns shall be within 15 % of each other on the same machine; seconds need not.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.telling import times

NEAR = 0.15


def ratios(found: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """Every ratio of two ways that is measured."""
    parts = {name: known["result"] for name, known in found["parts"].items()}
    for row in parts.get("rendering", {}).get("rows", []):
        if "failed" not in row:
            yield f"rendering, {row['way']}: times the plain pipeline", row["times as fast"]
            yield f"rendering, {row['way']}: by CPU time", row["times as fast by CPU time"]
    for row in parts.get("training_step", {}).get("rows", []):
        for name in ("ratio of pairs", "recipe over step"):
            if name in row:
                yield f"training at batches of {row['batch']:.0f}: {name}", row[name]
    if scoring := parts.get("scoring"):
        yield "scoring in batches: by CPU time", scoring["times as fast by CPU time"]


def compared(one: dict[str, Any], other: dict[str, Any]) -> Iterator[tuple[str, float, float, bool]]:
    """Each ratio that both know, and whether they agree."""
    second = dict(ratios(other))
    for name, value in ratios(one):
        if name in second:
            yield name, value, second[name], max(value, second[name]) <= (1 + NEAR) * min(value, second[name])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("one", type=Path)
    parser.add_argument("other", type=Path)
    asked = parser.parse_args()
    found = list(compared(*(json.loads(path.read_text()) for path in (asked.one, asked.other))))
    for name, one, other, near in found:
        print(f"{name:56} {times(one):>6} {times(other):>6}  {'' if near else 'further apart than 15 %'}".rstrip())
    return 0 if found and all(near for *_, near in found) else 1


if __name__ == "__main__":
    sys.exit(main())
