"""How long the server takes for each page of the board, with two thousand posts in the store.

    python -m bench.board [--posts 2000]

The studio is made in a temporary folder; every post shows one of a few small pictures. Times are those of whole requests
without a network, the best and the median of many, after one that warms everything up.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from board.app import create_app
from models.system.files import write_file
from tasks.posts import post_store
from tasks.store.store import Store
from tests.support.studios import put, studio

RESULTS = Path(__file__).parent / "results" / "board.json"
PAGES = ("/", "/posts", "/posts?page=20", "/calendar", "/feed", "/reports", "/api/posts")
MOST = 0.2  # seconds that the first page may take
ROUNDS = 15


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--posts", type=int, default=2000)
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), asked.posts)
    for page, each in found["pages"].items():
        print(
            f"{page:16} best {each['best'] * 1000:6.1f} ms   median {each['median'] * 1000:6.1f} ms   {each['bytes']} bytes"
        )
    first = found["pages"]["/"]["median"]
    print(f"the first page takes {first * 1000:.0f} ms of the {MOST * 1000:.0f} ms it may take")
    write_file(asked.out, (json.dumps(found, indent=1) + "\n").encode())


def measure(folder: Path, count: int) -> dict[str, Any]:
    from starlette.testclient import TestClient

    loaded = studio(folder)
    fill(Store.open("", loaded.studio), loaded, count)
    client = TestClient(create_app(loaded), base_url="http://127.0.0.1:8420")
    return {"posts": count, "pages": {page: _timed(client, page) for page in PAGES}}


def fill(store: Store, loaded: Any, count: int) -> None:
    """A few of each state, most of them published, one after another over the days before and after today."""
    start = datetime.now(UTC) - timedelta(hours=6 * (count - 60))
    for number in range(count):
        post = put(store, loaded, f"pip/walk/{number}", when=start + timedelta(hours=6 * number), seed=number % 8 * 10)
        if number < count - 60:
            for state in ("approved", "preparing", "uploaded", "committing", "published"):
                post = post_store.change(store, post, state, "bench", "so")  # type: ignore[arg-type]
        elif number < count - 40:
            post_store.approve(store, post, "bench")


def _timed(client: Any, page: str) -> dict[str, float]:
    client.get(page).raise_for_status()
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        answer = client.get(page)
        times.append(time.perf_counter() - start)
    return {"best": min(times), "median": statistics.median(times), "bytes": len(answer.content)}


if __name__ == "__main__":
    main()
