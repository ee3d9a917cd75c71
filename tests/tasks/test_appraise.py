"""What is measured of candidates, on drawings of which everything is known: toybox's own scorer looks at toybox's world."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image, ImageFilter

from models.errors import UserError
from models.toybox import world
from models.toybox.drawing import draw
from tasks.appraise import Appraiser, Asked
from tasks.gates import reason
from tasks.knobs import Gates
from tasks.persona import Persona, load
from tasks.settings import Loaded, Settings
from tests.tasks.calendars import TOP

PIP = world.Critter(kind="fox", colour="teal", belly="cream", eyes="round", marking="stripe", marking_colour="white")
SCENES = ("forest", "beach", "snow", "desert")
MATRIX = '[references.matrix]\nbackground = ["in the forest", "on the beach", "in the snow", "in the desert"]\n'


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("appraise")
    (place / "prompts").mkdir()
    (place / "prompts" / "pip.toml").write_text(TOP + MATRIX)
    return place


@pytest.fixture(scope="module")
def persona(place: Path) -> Persona:
    return load(place / "prompts" / "pip.toml")


def drawn(
    place: Path, name: str, critter: world.Critter, change: Callable[[Image.Image], Image.Image] | None = None
) -> Path:
    path = place / f"{name}.png"
    picture = draw(critter)
    (change(picture) if change else picture).save(path)
    return path


@pytest.fixture(scope="module")
def appraiser(place: Path, persona: Persona) -> Appraiser:
    references = [drawn(place, f"ref-{n}", replace(PIP, scene=scene, seed=n)) for n, scene in enumerate(SCENES)]
    plain = []
    for n, scene in enumerate((*SCENES, *SCENES)):
        any_fox = replace(
            PIP, scene=scene, seed=50 + n, colour=world.COLOURS[n], belly="gold", marking="none", eyes="happy"
        )
        plain.append(Asked(drawn(place, f"plain-{n}", any_fox), f"a picture of a fox {world.SCENE_PHRASES[scene][0]}"))
    return Appraiser(persona, references, plain, Loaded(Settings(), place, {}))


def asked(scene: str) -> str:
    return f"a portrait of <pip> {world.SCENE_PHRASES[scene][0]}"


def why(appraiser: Appraiser, picture: Path, prompt: str) -> str:
    [measured] = appraiser.look([Asked(picture, prompt)])
    return reason(measured, Gates(), "<pip>", "fox").partition(":")[0]


def test_the_character_where_it_was_asked_for_passes(place: Path, appraiser: Appraiser) -> None:
    for scene in ("city", "meadow", "snow"):
        assert why(appraiser, drawn(place, scene, replace(PIP, scene=scene, seed=9)), asked(scene)) == ""


def test_somebody_else_is_a_stranger(place: Path, appraiser: Appraiser) -> None:
    other = replace(PIP, colour="orange", belly="charcoal", marking="mask", marking_colour="black", eyes="sleepy")
    assert why(appraiser, drawn(place, "other", replace(other, scene="city")), asked("city")) == "stranger"


def test_another_scene_is_not_what_was_asked_for(place: Path, appraiser: Appraiser) -> None:
    assert why(appraiser, drawn(place, "beach", replace(PIP, scene="beach", seed=9)), asked("snow")) == "disobedient"


def test_a_smooth_blur_is_blurred_and_one_colour_is_blank(place: Path, appraiser: Appraiser) -> None:
    city = replace(PIP, scene="city")
    soft = drawn(place, "soft", city, lambda picture: picture.filter(ImageFilter.GaussianBlur(5)))
    assert why(appraiser, soft, asked("city")) == "blurred"
    flat = drawn(place, "flat", city, lambda picture: Image.new("RGB", picture.size, "teal"))
    assert why(appraiser, flat, asked("city")) == "blank"


def test_each_picture_is_measured_alone(place: Path, appraiser: Appraiser) -> None:
    both = [Asked(drawn(place, scene, replace(PIP, scene=scene, seed=9)), asked(scene)) for scene in ("city", "snow")]
    together, alone = appraiser.look(both), [appraiser.look([each])[0] for each in both]
    assert [each.scores() for each in together] == [each.scores() for each in alone]
    assert [each.likeness for each in together] == [each.likeness for each in alone]


def test_who_is_in_a_picture_without_the_word_does_not_matter(place: Path, appraiser: Appraiser) -> None:
    [measured] = appraiser.look([Asked(drawn(place, "city", replace(PIP, scene="city")), "a fox in the city")])
    assert measured.identity is None


def test_without_references_identity_is_not_told(place: Path, persona: Persona) -> None:
    plain = [Asked(drawn(place, "one", PIP), "a picture of a fox in the forest")]
    alone = Appraiser(persona, [], plain, Loaded(Settings(), place, {}))
    [measured] = alone.look([Asked(plain[0].picture, asked("forest"))])
    assert measured.identity is None


def test_a_picture_that_is_gone_is_named(place: Path, appraiser: Appraiser) -> None:
    with pytest.raises(UserError, match=r"gone\.png"):
        appraiser.look([Asked(place / "gone.png", asked("city"))])
