"""From an occurrence of the calendar to its shots, in every way that the calendar knows of making a picture."""

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from models.picture import provenance
from models.picture.environment import pixel_hash
from models.picture.reading import open_picture
from models.picture.shot import Shot
from models.sdxl import embedding, locate
from models.sdxl.embedding import Embedding
from models.system.errors import UserError
from tasks.calendar.due import DuePlan, DueShot
from tasks.calendar.wording import plan_due
from tasks.persona.persona import Persona
from tasks.pictures import generate
from tasks.pictures.generate import ModelSetup
from tasks.render import shots as shots_of_day
from tasks.settings.settings import LoadedSettings, load_settings
from tasks.store.picture_files import PictureFiles
from tests.support import tiny
from tests.support.calendars import entry, pip

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
Make = Callable[..., list[Shot]]


@pytest.fixture
def loaded(project: Path) -> LoadedSettings:
    return load_settings()


@pytest.fixture
def machine(loaded: LoadedSettings) -> ModelSetup:
    return generate.model_setup(loaded)


@pytest.fixture
def word(tmp_path: Path) -> Path:
    """Vectors as large as those of a vocabulary, so that they count in a picture."""
    path, draw = tmp_path / "pip.safetensors", torch.Generator().manual_seed(0)
    embedding.write_embedding(
        path, Embedding("<pip>", tuple(torch.randn(2, width, generator=draw) for width in (32, 48))), {}
    )
    return path


@pytest.fixture(scope="session")
def refiner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save(tiny.tiny_refiner(), tmp_path_factory.mktemp("models") / "refiner")


def today(folder: Path, *shots: dict[str, Any]) -> tuple[Persona, DuePlan]:
    persona = pip(folder, *shots)
    return persona, plan_due(persona, NOON - timedelta(days=1), NOON)


@pytest.fixture
def make(loaded: LoadedSettings, machine: ModelSetup, word: Path) -> Make:
    """The shots of a calendar's only entry."""

    def shots(seeds: list[int] | None = None, master: Path | None = None, **values: Any) -> list[Shot]:
        persona, found = today(loaded.folder, {"size": "square"} | values)
        assert found.problems == []
        (due,) = found.due
        return shots_of_day.candidate_shots(due, persona, word, machine, loaded, seeds or [due.seed], master)

    return shots


def pixels(loaded: LoadedSettings, machine: ModelSetup, shots: list[Shot]) -> list[str]:
    return [
        provenance.read_picture(path)[1].pixels
        for path in generate.generate_pictures(shots, machine, PictureFiles(loaded.studio))
    ]


def test_an_entry_says_how_its_pictures_are_made(make: Make, loaded: LoadedSettings, word: Path) -> None:
    (bare,) = make()
    assert (bare.prompt, bare.negative, bare.steps, bare.guidance, bare.sampler) == ("a fox", "", 2, 5.0, "euler")
    assert (bare.embeddings, bare.loras, bare.init, bare.guidance_until) == ((), (), None, 1.0)
    lora = tiny.lora(loaded.folder / "prompts", 1)
    said = {"negative": "blur", "steps": 4, "guidance": 3.0, "guidance_until": 0.5, "sampler": "DPM++ 2M"}
    one, two = make([7, 8], prompt="{{ token }} in the snow", loras=["lora1.safetensors:0.5"], **said)
    assert {name: getattr(one, name) for name in said} == said | {"sampler": "dpm++ 2m"}
    assert (one.prompt, one.embeddings[0].hash) == ("<pip> in the snow", embedding.read_embedding(word).hash)
    assert [(each.hash, each.weight) for each in one.loras] == [(lora.hash, 0.5)]
    assert two == one.with_changes(seed=8)


def test_a_persona_that_is_in_no_picture_leaves_its_word_out_of_it(make: Make) -> None:
    assert make(prompt="an empty forest")[0].embeddings == ()


@pytest.mark.parametrize(("size", "wanted"), [("square", (512, 512)), ("portrait", (448, 576)), ("story", (384, 672))])
def test_the_shape_is_the_calendars_and_the_area_the_settings(
    size: str, wanted: tuple[int, int], project: Path, sdxl_folder: Path, tmp_path: Path
) -> None:
    big = tiny.tiny_sdxl()
    big.unet.register_to_config(sample_size=128)
    folder = tiny.save(big, tmp_path / "big")
    (project / "settings.toml").write_text(f'[models]\nname = "{folder}"\n[rendering]\nwidth = 448\nheight = 576')
    loaded = load_settings()
    machine = generate.model_setup(loaded)
    assert machine.source.side == 1024
    persona, found = today(project, {"size": size})
    (shot,) = shots_of_day.candidate_shots(found.due[0], persona, None, machine, loaded, [1])
    assert (shot.width, shot.height) == wanted


def test_a_small_model_makes_squares_however_many_pixels_are_asked_for(make: Make, project: Path) -> None:
    assert {(shot.width, shot.height) for size in ("portrait", "story") for shot in make(size=size)} == {(64, 64)}
    file = project / "settings.toml"
    file.write_text(file.read_text().replace("= 64", "= 320"))
    loaded = load_settings()
    persona, found = today(project, {"size": "portrait"})
    (shot,) = shots_of_day.candidate_shots(found.due[0], persona, None, generate.model_setup(loaded), loaded, [1])
    assert (shot.width, shot.height) == (320, 320)


@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 20), first=st.integers(0, 20))
def test_seeds_are_derived_and_go_on_where_others_ended(seed: int, count: int, first: int) -> None:
    due = DueShot("pip", "s", NOON, "pip/s/2026-11-23", 1, seed, entry("daily"))
    whole = shots_of_day.candidate_seeds(due, first + count)
    assert whole[0] == seed
    assert shots_of_day.candidate_seeds(due, count, first) == whole[first:]
    assert len(set(whole)) == len(whole)


def test_seeds_are_the_same_on_every_machine_and_in_every_version() -> None:
    due = DueShot("pip", "s", NOON, "pip/s/2026-11-23", 1, 5, entry("daily"))
    assert shots_of_day.candidate_seeds(due, 3) == [5, int(hashlib.sha256(b"5 1").hexdigest()[:8], 16), 3919451211]


# Each way changes the picture


@pytest.mark.parametrize(
    "way",
    [
        {"negative": "blue water"},
        {"guidance": 9.0},
        {"guidance_until": 0.5},
        {"steps": 3},
        {"sampler": "dpm++ 2m"},
        {"loras": ["lora1.safetensors"]},
        {"token_weight": 1.4},
        {"prompt": "a (photo:1.4) of {{ token }}"},
        {"init": "sketch.png"},
    ],
    ids=lambda way: next(iter(way)),
)
def test_every_way_reaches_the_picture(
    way: dict[str, Any], make: Make, loaded: LoadedSettings, machine: ModelSetup
) -> None:
    (loaded.folder / "prompts").mkdir(exist_ok=True)
    tiny.lora(loaded.folder / "prompts", 1)
    Image.linear_gradient("L").save(loaded.folder / "prompts" / "sketch.png")
    plain = {"prompt": "a photo of {{ token }}", "steps": 4}
    shots = make(**plain) + make(**(plain | way))
    assert len(set(pixels(loaded, machine, shots))) == 2


def test_a_word_of_weight_one_is_the_word_alone(make: Make, loaded: LoadedSettings, machine: ModelSetup) -> None:
    said = {"prompt": "a photo of {{ token }}", "caption": "It is {{ token }}."}
    (alone,), (one,), (strong,) = make(**said), make(**said, token_weight=1), make(**said, token_weight=1.25)
    assert (one, strong.prompt) == (alone, "a photo of (<pip>:1.25)")
    written = alone.with_changes(prompt="a photo of (<pip>:1)")
    assert written.id != alone.id
    assert len(set(pixels(loaded, machine, [alone, written]))) == 1
    _, found = today(loaded.folder, said | {"token_weight": 1.25})
    assert found.due[0].words.caption == "It is <pip>."


def test_a_picture_starts_from_another_shots_picture(make: Make, loaded: LoadedSettings, machine: ModelSetup) -> None:
    first = generate.generate_pictures(make(), machine, PictureFiles(loaded.studio))[0]
    (shot,) = make(prompt="a cat", master=first, strength=0.5)
    assert shot.init
    assert (shot.init.hash, shot.strength) == (pixel_hash(open_picture(first)), 0.5)


def test_what_another_shot_has_not_made_yet_is_named(loaded: LoadedSettings, machine: ModelSetup) -> None:
    persona, found = today(loaded.folder, {"id": "a"}, {"id": "b", "init": "a"})
    later = next(due for due in found.due if due.shot == "b")
    with pytest.raises(UserError, match=r"pip\.toml: shot 'b': init: pip/a/2026-11-23 has no picture yet"):
        shots_of_day.candidate_shots(later, persona, None, machine, loaded, [1])


# The refiner


def test_a_refiner_goes_over_a_picture_as_a_shot_of_its_own(
    make: Make, loaded: LoadedSettings, machine: ModelSetup, refiner: Path
) -> None:
    ways = {"prompt": "{{ token }} in the snow", "refiner": str(refiner), "refiner_strength": 0.5, "steps": 4}
    (loaded.folder / "prompts").mkdir()
    tiny.lora(loaded.folder / "prompts", 1)
    (shot,) = make(**ways, loras=["lora1.safetensors"])
    (path,) = generate.generate_pictures([shot], machine, PictureFiles(loaded.studio))
    _, found = today(loaded.folder, ways)
    refined = shots_of_day.refined_shot(shot, path, found.due[0], loaded)
    other = shots_of_day.refiner_setup(found.due[0], loaded)
    assert refined and refined.init
    assert refined.model == other.source.ref == locate.locate_model(str(refiner)).ref
    assert (refined.prompt, refined.embeddings, refined.seed) == (shot.prompt, shot.embeddings, shot.seed)
    assert (refined.loras, refined.strength, refined.init.hash) == ((), 0.5, provenance.read_picture(path)[1].pixels)
    (after,) = generate.generate_pictures([refined], other, PictureFiles(loaded.studio))
    _, record = provenance.read_picture(after)
    assert record.parents == (provenance.read_picture(path)[1].pixels,)
    assert record.pixels != provenance.read_picture(path)[1].pixels
    provenance.check_pixels(path, *provenance.read_picture(path))


def test_without_a_refiner_there_is_no_second_pass(make: Make, loaded: LoadedSettings) -> None:
    (shot,) = make()
    _, found = today(loaded.folder, {})
    assert shots_of_day.refined_shot(shot, loaded.folder / "nothing.png", found.due[0], loaded) is None


# Mistakes: one sentence with the file and the shot, before anything is made


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"sampler": "eular"}, "sampler = 'eular' is no sampler: did you mean euler?"),
        ({"sampler": 3}, "sampler = 3 is not allowed: use a text"),
        ({"guidance_until": 2}, "guidance_until = 2 is not allowed: use 1.0 or less"),
        ({"token_weight": 0}, "token_weight = 0 is not allowed: use 0.1 or more"),
        ({"refiner_strength": 0}, "refiner_strength = 0 is not allowed: use 0.01 or more"),
        ({"loras": ["film.pt"]}, "loras.0 = 'film.pt' is no file of a LoRA: write it as file.safetensors:0.8"),
        (
            {"loras": ["film.safetensors:strong"]},
            "loras.0 = 'film.safetensors:strong' has the weight 'strong': use a number from -10 to 10",
        ),
        ({"loras": ["film.safetensors:1e400"]}, "has the weight '1e400': use a number from -10 to 10"),
        ({"loras": ["film.safetensors:nan"]}, "has the weight 'nan': use a number from -10 to 10"),
        ({"loras": "film.safetensors"}, "loras = 'film.safetensors' is not allowed: use a list in square brackets"),
        ({"loras": ["film.safetensors:0.5"]}, "loras: there is no file at "),
    ],
)
def test_a_bad_value_breaks_only_its_shot(values: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    _, found = today(tmp_path, values, {})
    (problem,) = found.problems
    assert [due.shot for due in found.due] == ["s1"]
    assert str(problem).startswith(f"{tmp_path / 'prompts' / 'pip.toml'}: shot 's0': ")
    assert sentence in str(problem)
    assert "\n" not in str(problem)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"prompt": "a {{ token }}"}, "prompt: names <pip>, which is not learned yet: run restage train pip"),
        ({"refiner": "no/where/at/all"}, "there is no model at 'no/where/at/all'"),
        (
            {"refiner": "toybox", "refiner_strength": 0.1},
            "refiner_strength: strength 0.1 leaves none of the 2 steps: use 0.5 or more",
        ),
        ({"sampler": "lcm", "steps": 60}, "steps 60 is out of range: use 1 to 50"),
        ({"init": "notes.txt"}, "notes.txt is not a picture that can be read"),
    ],
)
def test_what_shows_only_with_the_model_names_the_shot_as_well(
    values: dict[str, Any], sentence: str, loaded: LoadedSettings, machine: ModelSetup
) -> None:
    (loaded.folder / "prompts").mkdir()
    (loaded.folder / "prompts" / "notes.txt").write_text("no picture")
    persona, found = today(loaded.folder, values)
    with pytest.raises(UserError) as caught:
        shots_of_day.candidate_shots(found.due[0], persona, None, machine, loaded, [1])
    assert str(caught.value).startswith(f"{persona.file}: shot 's0': ")
    assert sentence in str(caught.value)


def test_a_larger_picture_that_could_not_be_made_is_told_before_any_is(project: Path) -> None:
    with (project / "settings.toml").open("a") as file:
        file.write('\n[pictures]\nupscale = "refine"\n')
    loaded = load_settings()
    persona, found = today(project, {})
    with pytest.raises(
        UserError, match=r"'s0': pictures\.refine_strength: strength 0\.3 leaves none of the 2 steps: use"
    ):
        shots_of_day.candidate_shots(found.due[0], persona, None, generate.model_setup(loaded), loaded, [1])


def test_another_personas_word_is_refused(
    make: Make, loaded: LoadedSettings, machine: ModelSetup, tmp_path: Path
) -> None:
    other = tmp_path / "other.safetensors"
    embedding.write_embedding(other, Embedding("<rex>", (torch.ones(1, 32), torch.ones(1, 48))), {})
    persona, found = today(loaded.folder, {"prompt": "a {{ token }}"})
    with pytest.raises(UserError, match=r"is the embedding of <rex>, not of <pip>"):
        shots_of_day.candidate_shots(found.due[0], persona, other, machine, loaded, [1])


def test_a_file_beside_the_settings_is_found_too(loaded: LoadedSettings) -> None:
    (loaded.folder / "film.safetensors").touch()
    _, found = today(loaded.folder, {"loras": ["film.safetensors:-0.5"]})
    assert found.due[0].loras == ((loaded.folder / "film.safetensors", -0.5),)
