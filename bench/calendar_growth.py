"""What planning costs as personas grow: `python -m bench.calendar_growth`

Copies of prompts/pip.toml with names of their own: the CPU time of reading all files, and of planning the next seven days.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from models.system.files import write_file
from tasks.calendar.wording import plan_ahead
from tasks.persona.persona import Persona, find_persona

SOURCE = Path(__file__).parents[1] / "prompts" / "pip.toml"
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
DAYS = 7


def settle(folder: Path, count: int) -> list[str]:
    """So many persona files."""
    text, names = SOURCE.read_text(encoding="utf-8"), [f"pip{number:04}" for number in range(count)]
    shutil.copytree(SOURCE.parent / "wildcards", folder / "prompts" / "wildcards", dirs_exist_ok=True)
    for name in names:
        own = text.replace('name = "pip"', f'name = "{name}"', 1).replace('"<pip>"', f'"<{name}>"', 1)
        (folder / "prompts" / f"{name}.toml").write_text(own, encoding="utf-8")
    return names


def measure(folder: Path, count: int) -> dict[str, Any]:
    names = settle(folder, count)
    begun = time.process_time()
    people: list[Persona] = [find_persona(name, folder) for name in names]
    read = time.process_time()
    plans = [plan_ahead(who, NOW, NOW + timedelta(days=DAYS)) for who in people]
    done = time.process_time()
    assert not any(each.problems for each in plans)
    return {"personas": count, "read": read - begun, "plan": done - read, "due": sum(len(each.due) for each in plans)}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.calendar_growth", description=__doc__)
    parser.add_argument("--personas", type=int, nargs="+", default=[1, 10, 100, 1000])
    parser.add_argument("--out", type=Path, default=Path("bench/results/calendar_growth.json"))
    asked = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), 1)  # what is loaded late is loaded now
        for count in asked.personas:
            rows.append(measure(Path(folder), count))
            print(json.dumps(rows[-1]), flush=True)
    write_file(asked.out, (json.dumps({"rows": rows}, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
