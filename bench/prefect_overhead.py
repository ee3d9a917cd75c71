"""What running under Prefect costs a render of seven days, beside the same steps called directly.

    python -m bench.prefect_overhead FOLDER          # with settings.toml, prompts/ and a studio in which the persona is learned

The days are rendered once directly: that is how long the work takes. Then the posts are forgotten and rendered again, directly
and as a flow in turns; their pictures are there already, so all that differs is Prefect. Nothing in FOLDER is changed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from flows.render import flow, render
from flows.serve import QUIET
from tasks.render import Span
from tasks.settings import Loaded, load
from tasks.store import Store

RESULTS = Path(__file__).parent / "results" / "prefect_overhead.json"
AIM = 0.05
SINCE = "2031-03-03"
"""Days that nobody has rendered yet."""
TABLES = ("post_event", "candidate", "approval", "attempt", "post_revision", "post")


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def forget(loaded: Loaded) -> None:
    """The posts; their pictures stay."""
    with closing(Store.open(loaded.database, loaded.studio)) as store, store.writing() as connection:
        for table in TABLES:
            connection.exec_driver_sql(f"DELETE FROM {table}")


def measure(loaded: Loaded, persona: str, days: int, times: int) -> dict[str, float]:
    """Seconds, the quickest of the times: whatever else the machine does only adds."""
    settings = str(loaded.folder / "settings.toml")

    def directly() -> object:
        return render(persona, loaded, Span(SINCE, days=days))

    def as_flow() -> object:
        return flow()(persona, since=SINCE, days=days, settings=settings)

    forget(loaded)
    work = seconds(directly)
    found: dict[str, list[float]] = {"directly": [], "as a flow": []}
    as_flow()  # the first one makes what later ones find
    for _ in range(times):
        for name, way in (("directly", directly), ("as a flow", as_flow)):
            forget(loaded)
            found[name].append(seconds(way))
    again = {name: min(each) for name, each in found.items()}
    more = again["as a flow"] - again["directly"]
    return {
        "work": work,
        "again, directly": again["directly"],
        "again, as a flow": again["as a flow"],
        "share": more / work,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--persona", default="pip")
    parser.add_argument("--days", type=int, default=7)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--out", type=Path, default=RESULTS)
    chosen = parser.parse_args()
    os.environ |= {name: value for name, value in QUIET.items() if "EPHEMERAL" not in name}
    from prefect.testing.utilities import prefect_test_harness

    from flows import registration

    with tempfile.TemporaryDirectory() as place, prefect_test_harness(server_startup_timeout=120):
        copy = Path(place) / "studio"
        asyncio.run(registration.prepare([]))  # the limit on the GPU, which every run waits for
        shutil.copytree(chosen.folder, copy, ignore=shutil.ignore_patterns("prefect", "logs", "*.log"))
        found = measure(load(copy / "settings.toml"), chosen.persona, chosen.days, chosen.times)
    chosen.out.write_text(json.dumps({"days": chosen.days} | found, indent=1) + "\n")
    for name, value in found.items():
        print(f"{name:18} " + (f"{value:.1%} of the work (aim: {AIM:.0%})" if name == "share" else f"{value:7.2f} s"))


if __name__ == "__main__":
    main()
