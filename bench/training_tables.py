"""What an optimizer of whole embedding tables holds at SDXL's widths, and one of the new vectors alone.

    python -m bench.training_tables

Both have tables as large as SDXL's, with random numbers; a lookup of a caption's words and a backward pass take the place of the
encoders. Whole tables: AdamW over all rows, all others put back after each step, saved with both moments, as most scripts do.
Each way in a process of its own; its peak memory is measured from where the tables are there.
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bench.training_step import peak, resident, start_peak
from models.system.files import write_file

WIDTHS, WORDS, VECTORS, STEPS = (768, 1280), 49_408, 8, 3


def whole_tables(tables: Sequence[Any], steps: int) -> tuple[Callable[[], bytes], float]:
    import torch

    grown = [torch.nn.Parameter(torch.cat([table, table[:VECTORS]])) for table in tables]
    others = [table.detach().clone() for table in grown]
    optimizer = torch.optim.AdamW(grown, lr=5e-3)
    ids = torch.arange(WORDS - 20, WORDS + VECTORS)
    begun = time.process_time()
    for _ in range(steps):
        sum((torch.nn.functional.embedding(ids, table) ** 2).sum() for table in grown).backward()  # type: ignore[union-attr]
        optimizer.step()
        optimizer.zero_grad()
        with torch.no_grad():
            for table, before in zip(grown, others, strict=True):
                old = torch.ones(len(table), dtype=torch.bool)
                old[WORDS:] = False
                table[old] = before[old]
    return lambda: saved([optimizer.state_dict(), [table.detach() for table in grown]]), time.process_time() - begun


def new_vectors(tables: Sequence[Any], steps: int) -> tuple[Callable[[], bytes], float]:
    """With the trainer's own optimizer and checkpoints."""
    import torch

    from models.inversion import Config, checkpoint
    from models.inversion.config import config_as_json
    from models.inversion.optimizer import OptimizerState

    config = Config(token="<pip>", init="fox", vectors=VECTORS)
    own = [torch.nn.Parameter(table[:VECTORS].clone()) for table in tables]
    memory, good = OptimizerState(own, config, None), torch.tensor(True)
    ids = torch.arange(WORDS - 20, WORDS)
    begun = time.process_time()
    for step in range(steps):
        looked = [torch.cat([table[ids], words]) for table, words in zip(tables, own, strict=True)]
        sum((each**2).sum() for each in looked).backward()  # type: ignore[union-attr]
        memory.update_vectors(config.rate_at(step), good)
        for words in own:
            words.grad = None
    seconds = time.process_time() - begun
    about = {"model": "", "vae": "", "config": config_as_json(config), "pictures": []}
    return lambda: checkpoint.pack_checkpoint(
        checkpoint.Checkpoint(steps, about, [each.detach() for each in own], *memory.export_state(steps))
    ), seconds


WAYS = {"whole tables": whole_tables, "the new vectors": new_vectors}


def saved(what: Any) -> bytes:
    import torch

    file = io.BytesIO()
    torch.save(what, file)
    return file.getvalue()


def measure(way: str, words: int = WORDS) -> dict[str, float]:
    """In this process."""
    import torch

    torch.manual_seed(0)
    tables = [torch.randn(words, width) for width in WIDTHS]
    WAYS[way]([table[: VECTORS * 4] for table in tables], 0)
    start_peak()
    before = resident()
    state, seconds = WAYS[way](tables, STEPS)
    most = peak() - before
    return {
        "peak bytes": most * 2**20,
        "cpu seconds a step": seconds / STEPS,
        "checkpoint bytes": len(state()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--way", choices=[*WAYS], help="only this one, here")
    parser.add_argument("--out", type=Path, default=Path("bench/results/training_tables.json"))
    asked = parser.parse_args()
    if asked.way:
        print(json.dumps(measure(asked.way)))
        return
    again = [sys.executable, "-m", "bench.training_tables", "--way"]
    done = {way: subprocess.run([*again, way], capture_output=True, text=True, check=True) for way in WAYS}
    ways = {way: json.loads(each.stdout.splitlines()[-1]) for way, each in done.items()}
    found = {"words": WORDS, "vectors": VECTORS, "widths": WIDTHS, "ways": ways}
    print(json.dumps(found, indent=1))
    write_file(asked.out, (json.dumps(found, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
