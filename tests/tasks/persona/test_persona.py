"""The persona file: what may stand in it, the sentence for every mistake, and the candidates that come of it."""

import itertools
import re
import tomllib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.sdxl.prompt_syntax import lint_prompt
from models.system.errors import UserError
from models.toybox import world
from tasks.persona.persona import (
    AXES,
    Persona,
    PersonaReferences,
    PersonaSchedule,
    Previews,
    candidate_cells,
    find_persona,
    load_persona,
    persona_names,
    prompt_for,
    seed_for,
)
from tasks.persona.starter_file import CRITTER, PERSON, StarterSubject, write_starter_file

REPOSITORY = Path(__file__).parents[3]
SHIPPED = persona_names(REPOSITORY)
TOP = """
name = "pip"
token = "<pip>"
class_word = "fox"
kind = "character"
subject = "a teal fox"
"""


def persona(matrix: dict[str, Any] | None = None, subject: str = "a teal fox", **references: Any) -> Persona:
    known = {"name": "pip", "token": "<pip>", "class_word": "fox", "kind": "character", "subject": subject}
    return Persona.model_validate(known | {"references": references | {"matrix": matrix or {}}})


def matrix(*lengths: int) -> dict[str, list[str]]:
    return {axis: [f"{axis} {n}" for n in range(length)] for axis, length in zip(AXES, lengths, strict=False)}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "pip.toml").write_text(TOP)
    return tmp_path / "prompts" / "pip.toml"


# The file


def test_the_least_file_works(file: Path) -> None:
    pip = load_persona(file)
    assert (pip.name, pip.token, pip.class_word, pip.kind, pip.model) == ("pip", "<pip>", "fox", "character", "")
    assert (pip.references.source, pip.references.candidates, pip.references.keep) == ("generate", 0, 0)
    assert (pip.references.guidance, pip.references.steps, pip.references.negative) == (None, None, None)
    assert prompt_for(pip, candidate_cells(pip, 1)[0]) == "a teal fox"


def test_a_file_with_everything(file: Path) -> None:
    file.write_text(f"""{TOP}
model = "owner/model"
[references]
source = "folder"
folder = "photos"
prompt = "{{framing}} {{subject}}"
negative = ""
seed = 3
candidates = 60
keep = 60
guidance = 6.5
steps = 30
[references.matrix]
framing = ["a portrait of"]
light = ["at noon", "at dusk"]
""")
    pip = load_persona(file)
    assert pip.references.negative == ""
    assert (pip.references.keep, pip.references.guidance, pip.references.steps) == (60, 6.5, 30)
    assert pip.references.matrix.used_axes() == {"framing": ("a portrait of",), "light": ("at noon", "at dusk")}


def test_a_persona_does_not_change_and_can_be_a_key(file: Path) -> None:
    pip = load_persona(file)
    with pytest.raises(ValueError, match="frozen"):
        pip.name = "other"
    assert hash(pip) == hash(load_persona(file))
    assert pip == load_persona(file)


def test_its_folder_lies_beside_the_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text(f'{TOP}[references]\nsource = "folder"\nfolder = "../photos"')
    monkeypatch.chdir(file.parent)
    pip = load_persona(Path("pip.toml"))
    monkeypatch.chdir("/")
    assert pip.folder.resolve() == file.parents[1] / "photos"


def test_its_folder_can_be_anywhere(file: Path) -> None:
    file.write_text(f'{TOP}[references]\nsource = "folder"\nfolder = "/photos"')
    assert load_persona(file).folder == Path("/photos")


def test_texts_over_several_lines_are_one_line(file: Path) -> None:
    file.write_text(f'{TOP}[references]\nprompt = """\n  {{subject}},\n  in ink\n"""')
    assert load_persona(file).references.prompt == "{subject}, in ink"


def test_the_mark_that_windows_puts_before_utf8_is_no_mistake(file: Path) -> None:
    file.write_text(TOP, encoding="utf-8-sig")
    assert load_persona(file).name == "pip"


MISTAKES = [
    ('name = "pip"', 'name = "Pip!"', "name = 'Pip!' is not allowed: use at most 64 lowercase letters, digits, - and _"),
    ('name = "pip"', f'name = "{"a" * 65}"', "is not allowed: use at most 64 lowercase letters"),
    ('name = "pip"', 'name = "pop"', "name = 'pop' is not the name of the file: write name = \"pip\" or call the file pop.toml"),
    ('name = "pip"', "name = 3", "name = 3 is not allowed: use a text"),
    ('token = "<pip>"', "", 'token is missing: add it, such as token = "<pip>"'),
    ('token = "<pip>"', 'tokn = "<pip>"', "key tokn is unknown: did you mean token?"),
    ('token = "<pip>"', 'token = "pip"', "token = 'pip' is not allowed: use a word in angle brackets"),
    ('token = "<pip>"', 'token = "<a b>"', "token = '<a b>' is not allowed: use a word in angle brackets"),
    ('class_word = "fox"', 'class_word = " "', "class_word = ' ' is not allowed: use a text that is not empty"),
    ('"character"', '"person"', "kind = 'person' is not allowed: use one of character, object, style"),
    ('"a teal fox"', '"<pip> the fox"', "subject holds <pip>, which no model knows yet: describe it in ordinary words"),
    ('"a teal fox"', '"a teal\\u0000 fox"', "subject holds the unseen character U+0000: take it out"),
    ("", "[references]\nprompt = \"{subject}\\u0001\"", "references.prompt holds the unseen character U+0001: take it out"),
    ('"a teal fox"', '"a fox', "is not valid TOML: illegal character '\\n' (at line 6, column 17)"),
    ("", "seed = 3", "key seed is unknown here: put it in [references]"),
    ("", "[calender]\na = 1", "section calender is unknown: did you mean calendar?"),
    ("", "references = 3", "references = 3 is not allowed: use a section with keys"),
    ("", '[references]\nkind = "style"', "key references.kind is unknown here: put it at the top of the file, before"),
    ("", "[references]\nsed = 3", "key references.sed is unknown: did you mean references.seed?"),
    ("", "[references]\nxyzzy = 3", "key references.xyzzy is unknown: the known ones are references.source, references.folder"),
    ("", '[references]\nsource = "web"', "references.source = 'web' is not allowed: use one of generate, folder"),
    ("", '[references]\nsource = "folder"', 'references.folder is empty, and source = "folder" needs it'),
    ("", "[references]\nseed = -1", "references.seed = -1 is not allowed: use 0 or more"),
    ("", '[references]\nseed = "x"', "references.seed = 'x' is not allowed: use a whole number"),
    ("", "[references]\ncandidates = 10001", "references.candidates = 10001 is not allowed: use 10000 or less"),
    ("", "[references]\ncandidates = 5\nkeep = 6", "references.keep = 6 is more than candidates = 5: keep fewer or make more"),
    ("", "[references]\nguidance = nan", "references.guidance = nan is not allowed: use a number"),
    ("", "[references]\nsteps = 501", "references.steps = 501 is not allowed: use 500 or less"),
    ("", "[references.matrix]\nfaming = []", "key references.matrix.faming is unknown: did you mean references.matrix.framing?"),
    ("", '[references.matrix]\nlight = "noon"', "references.matrix.light = 'noon' is not allowed: use a list in square brackets"),
    ("", "[references.matrix]\nlight = [1]", "references.matrix.light.0 = 1 is not allowed: use a text"),
    ("", '[references.matrix]\nlight = ["a", " "]', "references.matrix.light holds an empty phrase: take it out"),
    ("", '[references.matrix]\nlight = ["at noon", "At  noon"]', "references.matrix.light holds 'at noon' twice"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "sentence"), MISTAKES)
def test_mistakes_in_the_file(old: str, new: str, sentence: str, file: Path) -> None:
    file.write_text(TOP.replace(old, new) if old else TOP + new)
    with pytest.raises(UserError) as caught:
        load_persona(file)
    assert sentence in str(caught.value)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("prompt", "sentence"),
    [
        ("", "does not name {subject}: write {subject} where the persona belongs"),
        ("a {{subject}}", "does not name {subject}"),
        ("{subject} {faming}", "names {faming}, which is no placeholder: did you mean {framing}?"),
        ("{subject} {xyzzy}", "names {xyzzy}, which is no placeholder: the known ones are {subject}, {framing}"),
        ("{subject} {}", "names {}, which is no placeholder"),
        ("{subject.name}", "names {subject.name}, which is no placeholder"),
        ("{subject:>9}", "says more than a name in {subject:>9}: write {subject}"),
        ("{subject!r}", "says more than a name in {subject!r}: write {subject}"),
        ("{subject} {light}", "names {light}, which has no phrases: add light = [...] to [references.matrix] or take"),
        ("{subject} {", "has a brace without its partner: write {{ or }} for one that is meant as it is"),
        ("{subject} }", "has a brace without its partner"),
    ],
)  # fmt: skip
def test_mistakes_in_the_prompt(prompt: str, sentence: str, file: Path) -> None:
    file.write_text(f"{TOP}[references]\nprompt = '{prompt}'\n[references.matrix]\nframing = ['a portrait of']")
    with pytest.raises(UserError) as caught:
        load_persona(file)
    assert f"{file}: references.prompt {sentence}" in str(caught.value)


def test_a_file_that_is_no_text(file: Path) -> None:
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match=r"pip\.toml cannot be read .*: make it a readable UTF-8 text file"):
        load_persona(file)


def test_a_long_value_does_not_bury_the_sentence(file: Path) -> None:
    file.write_text(TOP.replace("character", "x" * 500))
    with pytest.raises(UserError, match="xxx… is not allowed: use one of character"):
        load_persona(file)


# By name


def test_a_persona_is_found_by_name_or_path(file: Path) -> None:
    assert find_persona("pip", file.parents[1]) == find_persona(str(file), Path("/")) == load_persona(file)


def test_an_unknown_name_tells_the_nearest_and_what_there_is(file: Path) -> None:
    file.with_name("mara.toml").touch()
    file.with_name("rex.toml").touch()
    with pytest.raises(
        UserError, match=r"no persona 'Pipp' in .*prompts: did you mean pip\? there are mara, pip and rex"
    ):
        find_persona("Pipp", file.parents[1])
    with pytest.raises(UserError, match="no persona 'xyzzy' in .*prompts: there are mara"):
        find_persona("xyzzy", file.parents[1])


def test_an_unknown_path_and_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no persona file at .*none\.toml: check the path"):
        find_persona(str(tmp_path / "none.toml"), tmp_path)
    with pytest.raises(UserError, match="there is no persona 'pip': .*prompts holds none; make one with restage new"):
        find_persona("pip", tmp_path)


def test_names_are_those_of_the_files(file: Path) -> None:
    for other in (".hidden.toml", "notes.txt", "mara.toml"):
        file.with_name(other).touch()
    file.with_name("folder.toml").mkdir()
    assert persona_names(file.parents[1]) == ["mara", "pip"]


# The matrix

LENGTHS = st.lists(st.integers(0, 9), max_size=len(AXES))


@given(LENGTHS, st.integers(0, 60))
@settings(deadline=None)
def test_every_axis_is_balanced_at_every_moment(lengths: list[int], count: int) -> None:
    pip = persona(matrix(*lengths))
    drawn = candidate_cells(pip, count)
    assert len(drawn) == count
    for axis, phrases in pip.references.matrix.used_axes().items():
        used = Counter(dict.fromkeys(phrases, 0))
        for cell in drawn:
            used[cell[axis]] += 1
            assert max(used.values()) - min(used.values()) <= 1
        assert set(used) == set(phrases)


@given(LENGTHS, st.integers(0, 60), st.integers(0, 60))
@settings(deadline=None)
def test_more_candidates_leave_the_first_ones_as_they_are(lengths: list[int], few: int, more: int) -> None:
    pip = persona(matrix(*lengths))
    assert candidate_cells(pip, few + more)[:few] == candidate_cells(pip, few)


def coverage(lengths: Sequence[int], times: int) -> list[float]:
    """For every two axes the share of their pairs that met in `times` as many candidates as there are pairs."""
    drawn = candidate_cells(persona(matrix(*lengths)), times * max(lengths) ** 2)
    shares = []
    for one, two in itertools.combinations(range(len(lengths)), 2):
        pairs = lengths[one] * lengths[two]
        shares.append(len({(cell[AXES[one]], cell[AXES[two]]) for cell in drawn[: times * pairs]}) / pairs)
    return shares


@given(st.lists(st.integers(2, 9), min_size=2, max_size=len(AXES)))
@settings(max_examples=40, deadline=None)
def test_no_two_axes_run_in_lockstep(lengths: list[int]) -> None:
    assert min(coverage(lengths, 3)) > 0.9


@pytest.mark.parametrize("lengths", [(4, 4), (6, 6), (3, 6), (6, 5, 4, 3), (4, 5, 8, 5, 6, 4)])
def test_pairs_meet_sooner_than_by_chance(lengths: tuple[int, ...]) -> None:
    """By chance 63 % of the pairs meet in as many candidates as there are pairs."""
    shares = coverage(lengths, 1)
    assert sum(shares) / len(shares) > 0.8


def test_a_small_matrix_is_covered() -> None:
    small = persona({"framing": ["near", "far", "all"], "background": ["snow", "sand", "sea", "city", "wood", "lawn"]})
    times = Counter(prompt_for(small, cell) for cell in candidate_cells(small, 48))
    assert len(times) == 3 * 6
    assert max(times.values()) <= 4


def test_cells_name_the_axes_that_have_phrases() -> None:
    assert candidate_cells(persona({"light": ["at noon"], "pose": []}), 2) == [{"light": "at noon"}] * 2
    assert candidate_cells(persona(), 3) == [{}, {}, {}]


def test_a_reworded_phrase_takes_the_place_of_the_old_one() -> None:
    old = matrix(4, 5)
    new = old | {"framing": ["NEW", *old["framing"][1:]]}
    expected = candidate_cells(persona(old), 40)
    for cell in expected:
        cell["framing"] = "NEW" if cell["framing"] == "framing 0" else cell["framing"]
    assert candidate_cells(persona(new), 40) == expected


def test_cells_stay_the_same_between_versions() -> None:
    """Candidates on somebody's disk were made for these."""
    drawn = candidate_cells(persona(matrix(3, 0, 4)), 5)
    assert [(cell["framing"][-1], cell["background"][-1]) for cell in drawn] == PINNED


PINNED = [("0", "3"), ("1", "0"), ("2", "2"), ("1", "1"), ("0", "1")]


@pytest.mark.timeout(120)  # walking all cells takes hours
@pytest.mark.parametrize("lengths", [(5,) * 7, (316, 316), (100_000,), (30,) * 4])
def test_a_large_matrix_is_never_walked_whole(lengths: tuple[int, ...]) -> None:
    drawn = candidate_cells(persona(matrix(*lengths)), 10_000)
    assert len({tuple(cell.values()) for cell in drawn}) > 9000


# Prompts and seeds


def test_phrases_stand_where_the_prompt_names_them_and_the_rest_follows() -> None:
    pip = persona(matrix(1, 1, 1, 0, 0, 0, 1), prompt="{light}, {framing} ({subject}:1.2) {{x}} {framing}")
    expected = "light 0, framing 0 (a teal fox:1.2) {x} framing 0, angle 0, background 0"
    assert prompt_for(pip, candidate_cells(pip, 1)[0]) == expected


def test_the_token_can_stand_for_the_subject() -> None:
    pip = persona(matrix(1), prompt="{framing} {subject}")
    assert prompt_for(pip, {"framing": "a portrait of"}, pip.token) == "a portrait of <pip>"


def test_braces_in_subject_and_phrases_are_text() -> None:
    pip = persona({"light": ["{framing}"]}, subject="a {fox}")
    assert prompt_for(pip, candidate_cells(pip, 1)[0]) == "a {fox}, {framing}"


def test_seeds_come_from_the_base_seed_and_the_number_alone() -> None:
    pip = persona(seed=7)
    seeds = [seed_for(pip, number) for number in range(1000)]
    assert len(set(seeds)) == 1000
    assert all(0 <= seed < 2**32 for seed in seeds)
    assert seeds == [seed_for(persona(seed=7, subject="another", prompt="of {subject}"), n) for n in range(1000)]
    assert not set(seeds) & {seed_for(persona(seed=8), number) for number in range(1000)}
    assert seeds[:2] == SEEDS  # somebody's candidates were made with these


SEEDS = [2680530905, 1781599302]


# The files that ship


def comments(text: str) -> dict[str, bool]:
    """Each key, also one that is commented out, and whether its line or the line before explains it."""
    found = {}
    for before, line in itertools.pairwise(["", *text.splitlines()]):
        if match := re.match(r"(?:# )?([a-z_]+) = ", line):
            explained = bool(re.search(r"\s# \S", line) or re.match(r"# [A-Z]", before))
            found[match[1]] = explained or found.get(match[1], False)  # shots repeat their keys
    return found


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_persona_loads_and_its_prompts_differ(name: str) -> None:
    shipped = find_persona(name, REPOSITORY)
    axes = shipped.references.matrix.used_axes()
    assert axes
    every = {prompt_for(shipped, dict(zip(axes, cell, strict=True))) for cell in itertools.product(*axes.values())}
    count = 1
    for phrases in axes.values():
        count *= len(phrases)
    assert len(every) == count
    assert all(prompt and len(prompt.split()) <= 55 for prompt in every)
    drawn = candidate_cells(shipped, shipped.references.candidates or 48)
    for prompt in [prompt_for(shipped, cell, subject) for cell in drawn for subject in (None, shipped.token)]:
        assert lint_prompt(prompt, [shipped.token]) == []


@pytest.mark.parametrize("name", [*SHIPPED, "a new one"])
def test_every_key_stands_in_the_file_with_a_comment(name: str, tmp_path: Path) -> None:
    file = write_starter_file("new", tmp_path) if name == "a new one" else REPOSITORY / "prompts" / f"{name}.toml"
    found = comments(file.read_text())
    assert all(found.values()), [key for key, explained in found.items() if not explained]
    parts = (Persona, PersonaReferences, Previews, PersonaSchedule)
    keys = {key for part in parts for key in part.model_fields} - {
        "references",
        "matrix",
        "calendar",
        "preview",
        "schedule",
    }
    assert keys <= set(found)


def test_pip_speaks_toyboxs_language() -> None:
    pip = find_persona("pip", REPOSITORY)
    said = pip.references.matrix.used_axes()
    assert set(said["framing"]) <= {phrase for some in world.FRAMING_PHRASES.values() for phrase in some}
    assert set(said["background"]) <= {phrase for some in world.SCENE_PHRASES.values() for phrase in some}
    marking = world.MARKING_PHRASES[world.PIP.marking].format(world.PIP.marking_colour).removeprefix("with ")
    coat = world.article(f"{world.PIP.colour} {world.PIP.kind}")
    eyes = world.EYE_PHRASES[world.PIP.eyes].removeprefix("with ")
    assert pip.subject == f"{coat} {world.BELLY_PHRASES[0].format(world.PIP.belly)} and {eyes} and {marking}"
    assert pip.class_word in world.KINDS


def test_mara_is_ready_for_the_full_size_model() -> None:
    mara = find_persona("mara", REPOSITORY)
    assert mara.model == "stabilityai/stable-diffusion-xl-base-1.0"
    assert (mara.references.candidates, mara.references.keep) == (120, 12)
    assert len(mara.references.matrix.used_axes()) >= 5
    assert mara.references.negative


# A new one


@pytest.mark.parametrize("example", [CRITTER, PERSON])
@pytest.mark.parametrize("name", ["rex", "a", "2b-or_not", "x" * 64])
def test_a_new_file_loads(name: str, example: StarterSubject, tmp_path: Path) -> None:
    path = write_starter_file(name, tmp_path, example)
    assert path == tmp_path / "prompts" / f"{name}.toml"
    made = load_persona(path)
    assert (made.name, made.token) == (name, f"<{name}>")
    assert (made.class_word, made.subject) == (example.class_word, example.subject)
    assert made.references.candidates == example.candidates
    assert len({prompt_for(made, cell) for cell in candidate_cells(made, 12)}) == 12


def test_what_a_new_file_leaves_commented_out_is_valid(tmp_path: Path) -> None:
    path = write_starter_file("rex", tmp_path)
    path.write_text(re.sub(r"^# ([a-z]+ = )", r"\1", path.read_text(), flags=re.MULTILINE))
    made = load_persona(path)
    assert made.references.steps
    assert set(made.references.matrix.used_axes()) == set(AXES)
    assert set(tomllib.loads(path.read_text())["references"]) == set(PersonaReferences.model_fields)


def test_a_new_file_never_replaces_one(file: Path) -> None:
    with pytest.raises(UserError, match=r"pip\.toml exists already: choose another name, or edit that file"):
        write_starter_file("pip", file.parents[1])
    assert file.read_text() == TOP


@pytest.mark.parametrize("name", ["", "Pip", "../pip", "a b", "-x", "über", "x" * 65, "x\n"])
def test_a_bad_name_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be the name of a persona: use at most 64 lowercase letters"):
        write_starter_file(name, tmp_path)
    assert not list(tmp_path.iterdir())
