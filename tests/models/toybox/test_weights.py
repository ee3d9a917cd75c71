import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from models import toybox
from models.system.errors import UserError


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(toybox.weights_folder(), tmp_path / "weights"))


def test_shipped_weights_are_the_ones_that_were_made() -> None:
    assert toybox.check_weights() == toybox.weights_folder()


def test_shipped_weights_stay_small() -> None:
    assert sum(path.stat().st_size for path in toybox.weights_folder().rglob("*")) < 40e6


def test_a_missing_file_is_named_with_the_cure(copy: Path) -> None:
    (copy / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(UserError, match=r"unet/diffusion_pytorch_model.safetensors is missing.*git checkout -- "):
        toybox.check_weights(copy)


def test_a_truncated_file_is_named_with_the_cure(copy: Path) -> None:
    path = copy / "vae" / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"vae/diffusion_pytorch_model.safetensors is not the file.*git checkout -- "):
        toybox.check_weights(copy)


def test_swapped_files_are_named(copy: Path) -> None:
    one, other = (copy / name / "model.safetensors" for name in ("text_encoder", "text_encoder_2"))
    held = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(held)
    with pytest.raises(UserError, match=r"text_encoder/model.safetensors is not the file"):
        toybox.check_weights(copy)


def test_missing_hashes_are_named(copy: Path) -> None:
    (copy / toybox.HASHES).unlink()
    with pytest.raises(UserError, match=r"hashes.json is missing or unreadable"):
        toybox.check_weights(copy)


def test_broken_hashes_are_named(copy: Path) -> None:
    (copy / toybox.HASHES).write_text("{")
    with pytest.raises(UserError, match=r"hashes.json is missing or unreadable"):
        toybox.check_weights(copy)


def test_importing_toybox_does_not_import_torch() -> None:
    code = "import sys, models.toybox, models.toybox.world; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
