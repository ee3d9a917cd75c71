"""Several processes teach a word together: each computes its share of every batch, and all have the same vectors."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from models.inversion.checkpoint import unpack_checkpoint
from models.inversion.training import train_token
from models.sdxl.embedding import Embedding
from models.sdxl.locate import ModelSource, locate_model
from models.sdxl.pipeline import Options
from models.sdxl.renderer import Renderer
from models.system.errors import UserError
from tests.models.inversion.test_training import BUSY as SMALL
from tests.models.inversion.test_training import EXAMPLES, last, replace

BUSY = replace(SMALL, batch=4, steps=4)
WITHIN = 1e-5  # sums over a batch come in another order; nothing else differs


def work(model: str, folder: str, rank: int, processes: int) -> None:
    """What each process does: the whole training, and then its second half, from what one process alone had saved."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"file://{folder}/meeting", rank=rank, world_size=processes)
    loaded, here = Renderer(locate_model(model), Options()), Path(folder)
    for name, state in {"whole": None, "rest": (here / "half").read_bytes()}.items():
        record = last(loaded, BUSY, state)
        (here / f"{name}.{rank}").write_bytes(record.pack_state())
        (here / f"{name}.{rank}.loss").write_text(repr(record.loss))
    torch.distributed.destroy_process_group()


def together(model: Path, folder: Path, processes: int) -> None:
    environment = os.environ | {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    begun = []
    for rank in range(processes):
        call = f"work({str(model)!r}, {str(folder)!r}, {rank}, {processes})"
        command = [sys.executable, "-c", f"from tests.models.inversion.test_processes import work; {call}"]
        begun.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True))
    for each in begun:
        _, said = each.communicate(timeout=800)
        assert each.returncode == 0, said


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_processes_learn_what_one_does(sdxl: ModelSource, sdxl_folder: Path, tmp_path: Path) -> None:
    alone = [(record.pack_state(), record.loss) for record in train_token(Renderer(sdxl, Options()), EXAMPLES, BUSY)]
    (tmp_path / "half").write_bytes(alone[1][0])
    together(sdxl_folder, tmp_path, 2)
    expected = unpack_checkpoint(alone[-1][0])
    for name in ("whole", "rest"):
        first, second = ((tmp_path / f"{name}.{rank}").read_bytes() for rank in range(2))
        assert first == second  # to the bit, or they would drift apart
        for one, other in zip(unpack_checkpoint(first).vectors, expected.vectors, strict=True):
            torch.testing.assert_close(one, other, atol=WITHIN, rtol=0)
        assert float((tmp_path / f"{name}.0.loss").read_text()) == pytest.approx(alone[-1][1], rel=1e-5)


def test_that_tolerance_would_show_another_order_of_the_pictures(sdxl: ModelSource) -> None:
    model = Renderer(sdxl, Options())

    def learned(*order: int) -> Embedding:
        return last(model, BUSY, examples=[EXAMPLES[place] for place in order]).current_embedding

    for one, other in zip(learned(0, 1, 2).vectors, learned(0, 2, 1).vectors, strict=True):
        assert float((one - other).abs().max()) > 100 * WITHIN


def test_a_batch_that_cannot_be_shared_is_refused(sdxl: ModelSource, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    monkeypatch.setattr("torch.distributed.get_rank", lambda: 0)
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: 3)
    with pytest.raises(UserError, match="a batch of 4 cannot be shared by 3 processes: use a multiple of that"):
        train_token(Renderer(sdxl, Options()), EXAMPLES, BUSY)
