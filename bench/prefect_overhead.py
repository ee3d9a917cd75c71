"""What running under Prefect costs a render of seven days, beside the same steps called directly.

    python -m bench.prefect_overhead FOLDER          # with settings.toml, prompts/ and a studio in which the persona is learned

The same days are rendered directly and as a flow, in turns, each time in a fresh copy of FOLDER, which itself stays as it is.
Prefect ends a flow's heartbeats up to a second late, so what a flow costs differs from run to run, and its mean is what counts.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from flows.deployments import flow_for
from flows.render import render_posts
from flows.serving.serve import PREFECT_DEFAULTS
from tasks.render.due_posts import DateSpan
from tasks.settings.settings import load_settings

RESULTS = Path(__file__).parent / "results" / "prefect_overhead.json"
AIM = 0.05
SINCE = "2031-03-03"
"""Days that nobody has rendered yet."""


def directly(folder: Path, persona: str, days: int) -> None:
    render_posts(persona, load_settings(folder / "settings.toml"), DateSpan(SINCE, days=days))


def as_flow(folder: Path, persona: str, days: int) -> None:
    flow_for("render")(persona, since=SINCE, days=days, settings=str(folder / "settings.toml"))


WAYS = {"directly": directly, "as a flow": as_flow}


def seconds(way: str, source: Path, persona: str, days: int) -> float:
    """In a copy in which nothing of it was rendered before."""
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place) / "studio"
        shutil.copytree(source, copy, ignore=shutil.ignore_patterns("prefect", "logs", "*.log"))
        start = time.perf_counter()
        WAYS[way](copy, persona, days)
        return time.perf_counter() - start


def measure(source: Path, persona: str, days: int, times: int) -> dict[str, list[float]]:
    """Seconds of each way, in turns that start with the other one each time."""
    for way in WAYS:
        seconds(way, source, persona, min(days, 1))  # what is loaded once is loaded now
    found: dict[str, list[float]] = {way: [] for way in WAYS}
    for number in range(times):
        for way in list(WAYS)[:: 1 if number % 2 else -1]:
            found[way].append(seconds(way, source, persona, days))
    return found


def share(found: dict[str, list[float]]) -> float:
    return sum(found["as a flow"]) / sum(found["directly"]) - 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--persona", default="pip")
    parser.add_argument("--days", type=int, default=7)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--out", type=Path, default=RESULTS)
    chosen = parser.parse_args()
    os.environ |= {name: value for name, value in PREFECT_DEFAULTS.items() if "EPHEMERAL" not in name}
    from prefect.testing.utilities import prefect_test_harness

    from flows.serving import prefect_server

    with prefect_test_harness(server_startup_timeout=120):
        asyncio.run(prefect_server.prepare_server([]))  # the limit on the GPU, which every run waits for
        found = measure(chosen.folder, chosen.persona, chosen.days, chosen.times)
    chosen.out.write_text(json.dumps({"days": chosen.days, "share": share(found)} | found, indent=1) + "\n")
    for name, each in found.items():
        print(f"{name:10} {' '.join(f'{one:6.2f}' for one in each)} s")
    print(f"Prefect adds {share(found):.1%} (aim: {AIM:.0%})")


if __name__ == "__main__":
    main()
