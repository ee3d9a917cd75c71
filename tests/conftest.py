"""What many tests stand on: tiny real models on disk, built once, and no way to a hub."""

import os

# Before any library reads them. Tiny models are quicker on one thread, and processes that tests start must match.
os.environ |= {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "TERM": "dumb"}

import time
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, settings

from models.picture.shot import Shot
from models.sdxl import locate
from models.sdxl.locate import ModelSource
from models.sdxl.pipeline import Options
from models.sdxl.renderer import Renderer
from tests.support import tiny
from tests.support.stores import opened, server, store, url  # noqa: F401

# A test that takes longer beside others has not failed.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--clock", default="", help="run the tests at this time in Berlin, such as 2027-03-28T01:45 or +40 days"
    )


def pytest_configure(config: pytest.Config) -> None:
    if text := config.getoption("--clock"):
        set_the_clock(text)


def set_the_clock(text: str) -> None:
    """Let this process believe in another time, and live in Berlin, where clocks change twice a year."""
    import time_machine

    os.environ["TZ"] = "Europe/Berlin"
    time.tzset()
    days = text.removeprefix("+").removesuffix(" days")
    when = datetime.now() + timedelta(days=int(days)) if text.startswith("+") else datetime.fromisoformat(text)
    time_machine.travel(when.replace(tzinfo=ZoneInfo("Europe/Berlin")), tick=True).start()


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
def sdxl(sdxl_folder: Path) -> ModelSource:
    return locate.locate_model(str(sdxl_folder))


@pytest.fixture(scope="session")
def sd1(sd1_folder: Path) -> ModelSource:
    return locate.locate_model(str(sd1_folder))


@pytest.fixture(scope="session")
def model(sdxl: ModelSource) -> Renderer:
    """Tiny SDXL in batches of four. Tests that change a model load their own."""
    return Renderer(sdxl, Options(batch_size=4))


@pytest.fixture
def shot(sdxl: ModelSource) -> Shot:
    return Shot(prompt="a red cat in the forest", model=sdxl.ref, seed=1, width=64, height=64, steps=3)


@pytest.fixture
def project(tmp_path: Path, sdxl_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with settings, ready for the command line, on a tiny model; the current folder of the test."""
    lines = ["[models]", f'name = "{sdxl_folder}"', "[rendering]", "steps = 2", "width = 64", "height = 64"]
    (tmp_path / "settings.toml").write_text("\n".join(lines))
    monkeypatch.chdir(tmp_path)
    return tmp_path
