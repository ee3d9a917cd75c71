"""What the store costs as posts grow: `python -m bench.store_growth`

At every size a few more posts are put in, found and approved; the median CPU time of each.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bench.fitted import exponent
from models.system.files import write_file
from tasks.posts import post_store
from tasks.posts.post import Post, PostCandidate, PostContent, PostPicture
from tasks.store.store import Store

FIRST = datetime(2026, 1, 1, 9, tzinfo=UTC)
REPEATS = 15
PAGE = 50


def put(store: Store, number: int) -> Post:
    """A post with one picture and four candidates, as a render leaves them; no file is needed for that."""
    shown = PostPicture(
        f"{number:024x}", f"ready/{number:064x}.jpg", f"{number:064x}", "a teal fox in the snow", 1080, 1080
    )
    when = FIRST + timedelta(hours=6 * number)
    content = PostContent("photo", (shown,), f"Pip, day {number}", ("pip",), "pip.fox", when)
    said = [
        PostCandidate(n, f"{number:020x}{n:04x}", n == 0, "passed", {"identity": 0.9}, f"{n:016x}") for n in range(4)
    ]
    return post_store.create_post(
        store, f"pip/walk/{number}", "pip", "walk", "square", content, said, "restage", "rendered"
    )


def cost(work: Callable[[int], Any], repeats: int = REPEATS) -> float:
    taken = []
    for number in range(repeats):
        begun = time.process_time()
        work(number)
        taken.append(time.process_time() - begun)
    return statistics.median(taken)


def fill(store: Store, before: int, until: int) -> int:
    """All of them approved but the last fifty, as on a studio that somebody looks after."""
    for number in range(before, until):
        post = put(store, number)
        if number < until - PAGE:
            post_store.approve(store, post, "bench")
    return max(before, until)


def measure(sizes: list[int], folder: Path) -> dict[str, Any]:
    works: dict[str, list[float]] = {}
    grown = []
    with closing(Store.open("", folder)) as store:
        there = 0
        for size in sizes:
            there = fill(store, there, size)
            grown.append(there)
            added: list[Post] = []
            taken = {
                "enqueue one": cost(lambda n, there=there, added=added: added.append(put(store, there + n))),
                "find one": cost(lambda n, there=there: post_store.get_post(store, f"pip/walk/{n % there}")),
                "list what waits": cost(lambda n: post_store.find(store, ("awaiting review",), limit=PAGE)),
                "count by state": cost(lambda n: post_store.count(store)),
                "approve one": cost(lambda n, added=added: post_store.approve(store, added[n], "bench")),
            }
            there += len(added)
            for name, seconds in taken.items():
                works.setdefault(name, []).append(seconds)
            print(
                json.dumps({"posts": size} | {name: round(1000 * each, 3) for name, each in taken.items()}), flush=True
            )
    return {"posts": grown, "works": works}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.store_growth", description=__doc__)
    parser.add_argument("--posts", type=int, nargs="+", default=[1, 30, 100, 1000, 10_000])
    parser.add_argument("--out", type=Path, default=Path("bench/results/store_growth.json"))
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(asked.posts, Path(folder))
    for name, costs in found["works"].items():
        print(f"{name:16} exponent {exponent(list(zip(found['posts'], costs, strict=True))):g}")
    write_file(asked.out, (json.dumps(found, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
