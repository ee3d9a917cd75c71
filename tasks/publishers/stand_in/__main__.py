"""Run a stand-in in its own process until it is interrupted: `python -m tasks.publishers.stand_in FOLDER`."""

import sys
import threading
from pathlib import Path

from tasks.publishers.stand_in.server import StandIn


def main(folder: str, port: str = "0") -> None:
    with StandIn(folder=Path(folder), port=int(port)) as server:
        print(server.address, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    try:
        main(*sys.argv[1:3])
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
