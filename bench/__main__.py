"""All benchmarks, one after another: `make bench`, or `python -m bench [PART ...]`.

Each part is a process of its own. What is known of this machine and of the code as it is need not run again, so that a run
that was stopped goes on. The results are gathered in bench/results/<machine>.json and become docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import sys
import time

from bench import gather, machine, page
from bench.parts import PARTS, chosen
from models.system.errors import UserError


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"some of {', '.join(part.name for part in PARTS)}")
    parser.add_argument("--long", action="store_true", help="those that take hours, and go on where they were stopped")
    parser.add_argument("--fresh", action="store_true", help="also what is known already")
    parser.add_argument("--known", action="store_true", help="run nothing, take in what the long ones left")
    asked = parser.parse_args()
    to = gather.Gathered.read(gather.RESULTS / f"{machine.slug()}.json")
    try:
        parts = chosen(asked.parts, asked.long or asked.known)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    fine, began = True, time.monotonic()
    if asked.known:
        taken = gather.take_in(parts, to)
        print(f"taken in: {', '.join(taken) or 'nothing'}")
    else:
        fine = gather.gather(parts, to, asked.fresh, lambda line: print(line, flush=True))
    print(f"{page.publish(to.found)} after {time.monotonic() - began:.0f} s")
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
