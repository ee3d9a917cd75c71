"""What happens to a chosen picture before its JPEG: each pass is a shot that starts from the picture before."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from models.picture import provenance
from models.picture.shot import Shot
from tasks.calendar.due import DueShot
from tasks.calendar.wording import plan_due
from tasks.pictures import generate
from tasks.posts.jpeg import SIZES
from tasks.render import shots
from tasks.render.finish import finish_pictures
from tasks.settings.settings import LoadedSettings, load_settings
from tasks.store.picture_files import PictureFiles
from tests.support import tiny
from tests.support.calendars import pip

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture
def refiner(tmp_path: Path) -> str:
    return str(tiny.save(tiny.tiny_refiner(), tmp_path / "refiner"))


def settings(project: Path, pictures: str) -> LoadedSettings:
    with (project / "settings.toml").open("a") as file:
        file.write(f"\n[pictures]\n{pictures}\n")
    return load_settings()


def chosen(loaded: LoadedSettings, *entries: dict[str, Any]) -> list[tuple[DueShot, Shot]]:
    """One picture each, made."""
    persona = pip(loaded.folder, *[{"size": "square", "steps": 4} | each for each in entries])
    machine, artifacts = generate.model_setup(loaded), PictureFiles(loaded.studio)
    found = plan_due(persona, NOON - timedelta(days=1), NOON).due
    pairs = [(due, shots.candidate_shots(due, persona, None, machine, loaded, [due.seed])[0]) for due in found]
    generate.generate_pictures([shot for _, shot in pairs], machine, artifacts)
    return pairs


def test_a_picture_that_nobody_wants_more_of_stays_the_master(project: Path) -> None:
    loaded = settings(project, 'upscale = "bicubic"')
    pairs, artifacts = chosen(loaded, {}), PictureFiles(loaded.studio)
    assert finish_pictures(pairs, generate.model_setup(loaded), artifacts, loaded) == [
        artifacts.picture_path(pairs[0][1].id)
    ]


def test_refine_makes_it_larger_from_the_picture_itself(project: Path) -> None:
    loaded = settings(project, 'upscale = "refine"\nrefine_strength = 0.5')
    pairs, artifacts = chosen(loaded, {}, {"prompt": "a cat"}), PictureFiles(loaded.studio)
    machine = generate.model_setup(loaded)
    masters = finish_pictures(pairs, machine, artifacts, loaded)
    for (_, shot), master in zip(pairs, masters, strict=True):
        image, record = provenance.read_picture(master)
        assert image.size == (80, 80)
        assert record.parents == (provenance.read_picture(artifacts.picture_path(shot.id))[1].pixels,)
        assert (record.shot.prompt, record.shot.seed, record.shot.strength) == (shot.prompt, shot.seed, 0.5)
    times = [path.stat().st_mtime_ns for path in masters]
    assert finish_pictures(pairs, machine, artifacts, loaded) == masters
    assert [path.stat().st_mtime_ns for path in masters] == times


def test_the_refiner_goes_last_over_the_larger_picture_of_its_own_shots_alone(project: Path, refiner: str) -> None:
    loaded = settings(project, 'upscale = "refine"\nrefine_strength = 0.5')
    entries = [{}, {"refiner": refiner, "refiner_strength": 0.5}, {"prompt": "a cat"}]
    pairs, artifacts = chosen(loaded, *entries), PictureFiles(loaded.studio)
    records = [
        provenance.read_picture(path)[1]
        for path in finish_pictures(pairs, generate.model_setup(loaded), artifacts, loaded)
    ]
    models = [record.shot.model.name for record in records]
    assert [name == refiner for name in models] == [False, True, False]
    assert {(record.shot.width, record.shot.height) for record in records} == {(80, 80)}
    # The same prompt and seed as the second one, without its refiner.
    larger = shots.enlarged_shot(pairs[1][1], artifacts.picture_path(pairs[1][1].id), pairs[1][0], loaded)
    assert records[1].parents == (provenance.read_picture(artifacts.picture_path(larger.id))[1].pixels,)


@pytest.mark.parametrize(
    ("size", "own", "larger"),
    [
        ("portrait", (896, 1152), (1080, 1392)),
        ("square", (1024, 1024), (1080, 1080)),
        ("story", (768, 1344), (1096, 1920)),
        ("landscape", (1344, 704), (1344, 704)),
        ("landscape", (672, 352), (1080, 568)),
        ("portrait", (320, 400), (640, 800)),
        ("portrait", (128, 128), (160, 160)),
    ],
)
def test_no_pass_is_larger_than_what_is_published_or_than_the_model_can_do(
    size: str, own: tuple[int, int], larger: tuple[int, int], project: Path, shot: Shot
) -> None:
    loaded = load_settings()
    (due, made) = chosen(loaded, {"size": size})[0]
    picture = PictureFiles(loaded.studio).picture_path(made.id)
    found = shots.enlarged_shot(shot.with_changes(width=own[0], height=own[1], steps=9), picture, due, loaded)
    assert (found.width, found.height) == larger
    assert (found.init is None) == (own == larger)
    assert max(SIZES[size][0] / larger[0], SIZES[size][1] / larger[1]) <= 1.01 or max(own) <= 400
