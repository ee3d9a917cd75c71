"""Pictures of shots: what exists is left alone, what is done is kept, whatever happens next."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from models.picture import provenance
from models.system.errors import UserError
from tasks.pictures import generate
from tasks.settings.settings import LoadedSettings, load_settings
from tasks.store.picture_files import PictureFiles


@pytest.fixture
def loaded(project: Path) -> LoadedSettings:
    return load_settings()


@pytest.fixture
def machine(loaded: LoadedSettings) -> generate.ModelSetup:
    return generate.model_setup(loaded)


def test_settings_and_changes_become_shots(loaded: LoadedSettings, machine: generate.ModelSetup) -> None:
    one, two = generate.shots_for_seeds(loaded, machine, "a fox", seed=5, count=2, guidance=3.0, sampler=None)
    assert (one.seed, two.seed) == (5, 6)
    assert (one.steps, one.width, one.guidance, one.sampler) == (2, 64, 3.0, "euler")
    assert one.model == machine.source.ref
    assert dataclasses.replace(two, seed=5) == one


def test_no_size_means_the_size_the_model_was_trained_at(project: Path, sdxl_folder: Path) -> None:
    (project / "settings.toml").write_text(f'[models]\nname = "{sdxl_folder}"')
    loaded = load_settings()
    machine = generate.model_setup(loaded)
    (shot,) = generate.shots_for_seeds(loaded, machine, "a fox")
    assert (shot.width, shot.height) == (128, 128)
    assert machine.options.batch_size == generate.BATCH_SMALL


def test_an_empty_prompt_is_refused(loaded: LoadedSettings, machine: generate.ModelSetup) -> None:
    with pytest.raises(UserError, match="the prompt is empty"):
        generate.shots_for_seeds(loaded, machine, "  ")


def test_pictures_are_made_once(loaded: LoadedSettings, machine: generate.ModelSetup) -> None:
    artifacts = PictureFiles(loaded.studio)
    shots = generate.shots_for_seeds(loaded, machine, "a fox", count=3)
    first = generate.generate_pictures(shots[:2], machine, artifacts)
    times = [path.stat().st_mtime_ns for path in first]
    again = generate.generate_pictures([shots[2], *shots, shots[2]], machine, artifacts)
    assert again == [artifacts.picture_path(shot.id) for shot in [shots[2], *shots, shots[2]]]
    assert [path.stat().st_mtime_ns for path in first] == times
    assert artifacts.missing_shots(shots) == []


def test_the_record_stands_inside_the_picture_and_beside_it(
    loaded: LoadedSettings, machine: generate.ModelSetup
) -> None:
    (path,) = generate.generate_pictures(
        generate.shots_for_seeds(loaded, machine, "a fox"), machine, PictureFiles(loaded.studio)
    )
    image, record = provenance.read_picture(path)
    beside = json.loads(path.with_suffix(".json").read_text())
    assert beside == json.loads(record.as_json())
    assert beside["id"] == path.stem == record.shot.id
    provenance.check_pixels(path, image, record)


def test_kill_9_loses_nothing_that_was_done(project: Path, sdxl_folder: Path) -> None:
    """Killed in the middle, the next run makes only what is missing, and ends with the pictures of a calm run."""
    (project / "settings.toml").write_text(
        f'[models]\nname = "{sdxl_folder}"\nbatch_size = 1\n[rendering]\nsteps = 8\nwidth = 64\nheight = 64\n'
    )
    command = [sys.executable, "-m", "flows.cli", "generate", "a fox", "-n", "12"]
    pictures = project / "studio" / "artifacts" / "pictures"
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True) as process:
        deadline = time.monotonic() + 120
        while len(list(pictures.glob("*/*.png"))) < 3:
            assert process.poll() is None, "the run ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.005)
        os.killpg(process.pid, signal.SIGKILL)
    kept = {path: path.stat().st_mtime_ns for path in pictures.glob("*/*.png")}
    assert 3 <= len(kept) < 12
    for path in kept:
        provenance.check_pixels(path, *provenance.read_picture(path))
    loaded = load_settings()
    machine = generate.model_setup(loaded)
    shots = generate.shots_for_seeds(loaded, machine, "a fox", count=12)
    assert len(PictureFiles(loaded.studio).missing_shots(shots)) == 12 - len(kept)
    generate.generate_pictures(shots, machine, PictureFiles(loaded.studio))
    calm = generate.generate_pictures(shots, machine, PictureFiles(project / "calm"))
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    for path in calm:
        other = next(pictures.glob(f"*/{path.name}"))
        assert provenance.read_picture(other)[1].pixels == provenance.read_picture(path)[1].pixels


def test_a_full_disk_is_one_sentence(loaded: LoadedSettings, machine: generate.ModelSetup) -> None:
    """A file where a folder has to be, which fails for the same reasons and can be had without filling a disk."""
    loaded.studio.mkdir()
    (loaded.studio / "artifacts").write_text("in the way")
    with pytest.raises(UserError, match=r"artifacts/pictures/.*\.json cannot be written"):
        generate.generate_pictures(
            generate.shots_for_seeds(loaded, machine, "a fox"), machine, PictureFiles(loaded.studio)
        )
