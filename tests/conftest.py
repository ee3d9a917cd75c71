"""What many tests stand on: tiny real models on disk, built once, and no way to a hub."""

import os

# Before any library reads them. Tiny models are quicker on one thread, and processes that tests start must match.
os.environ |= {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "TERM": "dumb"}

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from models.picture.shot import Shot
from models.sdxl import locate
from models.sdxl.locate import Source
from models.sdxl.pipeline import Options
from models.sdxl.renderer import Model
from tests.support import tiny
from tests.support.stores import opened, server, store, url  # noqa: F401

# A test that takes longer beside others has not failed.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    import torch

    for item in items:
        if item.get_closest_marker("gpu") and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("RESTAGE_")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def sdxl_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save(tiny.tiny_sdxl(), tmp_path_factory.mktemp("models") / "sdxl")


@pytest.fixture(scope="session")
def sd1_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save(tiny.tiny_sd1(), tmp_path_factory.mktemp("models") / "sd1")


@pytest.fixture(scope="session")
def sdxl(sdxl_folder: Path) -> Source:
    return locate.locate(str(sdxl_folder))


@pytest.fixture(scope="session")
def sd1(sd1_folder: Path) -> Source:
    return locate.locate(str(sd1_folder))


@pytest.fixture(scope="session")
def model(sdxl: Source) -> Model:
    """Tiny SDXL in batches of four. Tests that change a model load their own."""
    return Model(sdxl, Options(batch_size=4))


@pytest.fixture
def shot(sdxl: Source) -> Shot:
    return Shot(prompt="a red cat in the forest", model=sdxl.ref, seed=1, width=64, height=64, steps=3)


@pytest.fixture
def project(tmp_path: Path, sdxl_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with settings, ready for the command line, on a tiny model; the current folder of the test."""
    lines = ["[models]", f'name = "{sdxl_folder}"', "[rendering]", "steps = 2", "width = 64", "height = 64"]
    (tmp_path / "settings.toml").write_text("\n".join(lines))
    monkeypatch.chdir(tmp_path)
    return tmp_path
