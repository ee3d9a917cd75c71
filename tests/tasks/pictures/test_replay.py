"""Replay: identical, different in the same environment, or another environment, and what parts them."""

import shutil
from pathlib import Path

import pytest
from PIL import Image

from models.picture import provenance
from models.picture.shot import Shot
from models.sdxl import locate
from models.sdxl.pipeline import Options
from models.sdxl.renderer import RenderedPicture, Renderer
from models.system import files
from models.system.errors import UserError
from tasks.pictures import replay
from tasks.settings.settings import LoadedSettings, load_settings
from tests.support import tiny


@pytest.fixture
def loaded(project: Path) -> LoadedSettings:
    return load_settings()


def made(path: Path, model: Renderer, shot: Shot) -> tuple[Path, RenderedPicture]:
    picture = next(model.generate([shot]))
    files.write_file(path, picture.encode_png())
    return path, picture


def test_the_same_environment_gives_identical_pixels(
    loaded: LoadedSettings, model: Renderer, shot: Shot, tmp_path: Path
) -> None:
    path, _ = made(tmp_path / "a.png", model, shot)
    result = replay.replay_picture(path, loaded)
    assert result.verdict == "identical"
    assert str(result) == "identical pixels, in an equal environment"
    assert result.psnr == float("inf")


def test_it_replays_in_the_batch_size_of_the_record(
    loaded: LoadedSettings, model: Renderer, shot: Shot, tmp_path: Path
) -> None:
    path, picture = made(tmp_path / "a.png", Renderer(model.source, Options(batch_size=3)), shot)
    assert picture.environment["batch_size"] == 3
    assert replay.replay_picture(path, loaded).verdict == "identical"


def test_different_pixels_in_an_equal_environment_are_an_error(
    loaded: LoadedSettings, model: Renderer, shot: Shot, tmp_path: Path
) -> None:
    _, picture = made(tmp_path / "a.png", model, shot)
    changed = picture.image.copy()
    changed.putpixel((0, 0), tuple(value ^ 8 for value in changed.getpixel((0, 0))))
    forged = RenderedPicture(picture.shot, changed, picture.environment)
    files.write_file(tmp_path / "a.png", forged.encode_png())
    result = replay.replay_picture(tmp_path / "a.png", loaded)
    assert result.verdict == "different"
    assert result.largest == 8
    assert result.unequal == pytest.approx(1 / 64**2)
    assert "the same environment gave different pixels" in str(result)


def test_another_environment_is_named_with_how_far_the_pixels_are(
    loaded: LoadedSettings, model: Renderer, shot: Shot, tmp_path: Path
) -> None:
    _, picture = made(tmp_path / "a.png", model, shot)
    versions = picture.environment["versions"] | {"torch": "1.0"}
    elsewhere = RenderedPicture(
        picture.shot, picture.image, picture.environment | {"versions": versions, "device": "cuda"}
    )
    files.write_file(tmp_path / "a.png", elsewhere.encode_png())
    result = replay.replay_picture(tmp_path / "a.png", loaded)
    assert result.verdict == "other environment"
    assert [line.split(":")[0] for line in result.differences] == ["versions.torch", "device"]
    assert "versions.torch: 1.0 -> " in str(result)


def test_another_model_under_the_same_name_is_named(
    loaded: LoadedSettings, sdxl_folder: Path, shot: Shot, tmp_path: Path
) -> None:
    moved = shutil.copytree(sdxl_folder, tmp_path / "moved")
    source = locate.locate_model(str(moved))
    path, _ = made(tmp_path / "a.png", Renderer(source, Options(batch_size=4)), shot.with_changes(model=source.ref))
    shutil.rmtree(moved)
    tiny.save(tiny.tiny_sdxl(seed=8), moved)
    result = replay.replay_picture(path, loaded)
    assert result.verdict == "other environment"
    assert result.differences[0].startswith(f"model: {moved} {source.ref.hash[:12]} -> ")
    assert not result.identical_pixels
    assert 0 < result.psnr < 60
    shutil.rmtree(moved)
    with pytest.raises(UserError, match="there is no model at"):
        replay.replay_picture(path, loaded)


def test_image_to_image_replays_and_needs_its_init_picture(
    loaded: LoadedSettings, model: Renderer, shot: Shot, tmp_path: Path
) -> None:
    from models.picture.environment import pixel_hash
    from models.picture.shot import Ref

    init, first = made(tmp_path / "init.png", model, shot)
    begun = shot.with_changes(init=Ref(str(init), pixel_hash(first.image)), strength=0.7, steps=6)
    path, _ = made(tmp_path / "a.png", model, begun)
    assert replay.replay_picture(path, loaded).verdict == "identical"
    init.unlink()
    with pytest.raises(UserError, match=r"there is no picture at .*init\.png"):
        replay.replay_picture(path, loaded)


def test_another_vae_is_found_again(loaded: LoadedSettings, model: Renderer, shot: Shot, tmp_path: Path) -> None:
    tiny.tiny_sdxl(seed=5).vae.save_pretrained(tmp_path / "vae")
    vae = locate.locate_vae(str(tmp_path / "vae"))
    path, _ = made(
        tmp_path / "a.png", Renderer(model.source, Options(batch_size=4, vae=vae)), shot.with_changes(vae=vae.ref)
    )
    assert replay.replay_picture(path, loaded).verdict == "identical"


@pytest.mark.parametrize("edit", [{"batch_size": 0}, {"dtype": "fp8"}, {"threads": -3}, {"memory": "much"}])
def test_an_environment_that_cannot_be(
    edit: dict, loaded: LoadedSettings, model: Renderer, shot: Shot, tmp_path: Path
) -> None:
    _, picture = made(tmp_path / "a.png", model, shot)
    files.write_file(tmp_path / "a.png", RenderedPicture(shot, picture.image, picture.environment | edit).encode_png())
    with pytest.raises(UserError, match="is unknown|is out of range"):
        replay.replay_picture(tmp_path / "a.png", loaded)


def test_an_edited_or_foreign_picture_is_not_replayed(
    loaded: LoadedSettings, model: Renderer, shot: Shot, tmp_path: Path
) -> None:
    path, picture = made(tmp_path / "a.png", model, shot)
    image = picture.image.copy()
    image.putpixel((0, 0), (1, 2, 3))
    files.write_file(path, provenance.encode_png(image, picture.provenance))
    with pytest.raises(UserError, match="was edited after it was made"):
        replay.replay_picture(path, loaded)
    Image.new("RGB", (8, 8)).save(tmp_path / "foreign.png")
    with pytest.raises(UserError, match="carries no record"):
        replay.replay_picture(tmp_path / "foreign.png", loaded)
