"""From a persona file to a reference set, by the command and as a Prefect flow."""

import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageFilter
from typer.testing import CliRunner, Result

from flows.cli import app
from flows.references import references
from models import embeddings
from models.errors import UserError
from models.toybox import world
from models.toybox.drawing import draw
from tasks.reference_set import ReferenceSet, Shelf, Verdict
from tasks.settings import load
from tests.models.test_dino import make_model as make_dino

REPOSITORY = Path(__file__).parents[2]
COUNT, KEEP = 12, 3
SETTINGS = f"""
[models]
name = "toybox"
[rendering]
steps = 4
[training]
vectors = 1
steps = 2
batch = 1
preview_every = 2
preview_seeds = 1
[references]
candidates = {COUNT}
keep = {KEEP}
cluster_least = 4
identity_spread = 1000
duplicate_likeness = 1
"""


def write_project(folder: Path, more: str = "") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "settings.toml").write_text(SETTINGS + more)
    (folder / "prompts").mkdir()
    shutil.copy(REPOSITORY / "prompts" / "pip.toml", folder / "prompts")
    return folder


@pytest.fixture(scope="module")
def done_once(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """A place where the references of pip were made, to be copied, and what the command said."""
    folder = write_project(tmp_path_factory.mktemp("references") / "place")
    done = restage("references", "pip", "--settings", str(folder / "settings.toml"))
    assert done.exit_code == 0, done.output
    return folder, done


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(write_project(tmp_path / "place"))
    return tmp_path / "place"


@pytest.fixture
def ready(done_once: tuple[Path, Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Candidates are there and chosen from."""
    shutil.copytree(done_once[0], tmp_path / "ready")
    monkeypatch.chdir(tmp_path / "ready")
    return tmp_path / "ready"


def restage(*words: str) -> Result:
    return CliRunner().invoke(app, words)


def current(place: Path) -> ReferenceSet:
    found = Shelf(place / "studio", "pip").current()
    assert found
    return found


def pictures(place: Path) -> set[Path]:
    return set((place / "studio" / "artifacts" / "pictures").rglob("*.png"))


def test_one_command_goes_from_the_persona_to_the_set(done_once: tuple[Path, Result]) -> None:
    place, done = done_once
    made = current(place)
    assert len(made.choice.order) == KEEP
    assert len(made.choice.verdicts) == COUNT == len(pictures(place))
    assert f"{KEEP} of {COUNT} candidates chosen for pip" in done.output
    page = (place / "studio" / "references" / "pip" / made.id / "report.html").read_text()
    assert page.count("<figure>") >= COUNT
    assert not re.findall(r"(?:src|href)=\"(?!data:)", page), "the page stands alone"
    assert all(each.candidate.short in page for each in made.choice.verdicts)
    Image.open(place / "studio" / "references" / "pip" / made.id / "sheet.png").verify()


def test_a_second_run_makes_nothing_and_decides_the_same(ready: Path) -> None:
    place = ready
    first, made = current(place), {path: path.stat().st_mtime_ns for path in pictures(place)}
    restage("references", "pip")
    assert current(place) == first
    assert {path: path.stat().st_mtime_ns for path in pictures(place)} == made


def test_from_nothing_again_it_is_the_same_to_the_bit(ready: Path, place: Path) -> None:
    restage("references", "pip")
    assert current(place).as_json() == current(ready).as_json()
    names = {path.name for path in pictures(ready)}
    assert {path.name for path in pictures(place)} == names
    for path in pictures(ready):
        other = place / path.relative_to(ready)
        assert Image.open(path).tobytes() == Image.open(other).tobytes()


def test_another_word_in_the_prompt_makes_new_pictures_and_keeps_the_old(ready: Path) -> None:
    place = ready
    before, first = pictures(place), current(place)
    persona = place / "prompts" / "pip.toml"
    persona.write_text(persona.read_text().replace("a teal fox", "a blue fox"))
    restage("references", "pip")
    assert before < pictures(place)
    assert len(pictures(place)) == 2 * COUNT
    seeds = [[each.candidate.seed for each in made.choice.verdicts] for made in (first, current(place))]
    assert seeds[0] == seeds[1]
    assert Shelf(place / "studio", "pip").read(first.id) == first


def test_a_person_overrules_and_it_is_remembered(ready: Path) -> None:
    place = ready
    first = current(place)
    dropped, wanted = first.choice.order[0], first.choice.dropped[0].candidate.id
    done = restage("references", "pip", "--drop", dropped[:10], "--keep", wanted[:10])
    assert done.exit_code == 0, done.output
    for _ in range(2):
        chosen = current(place).choice.order
        assert wanted in chosen
        assert dropped not in chosen
        restage("references", "pip")
    restage("references", "pip", "--forget", dropped[:10], "--forget", wanted[:10])
    assert current(place) == first


def test_an_id_that_nobody_has_changes_nothing(ready: Path) -> None:
    place = ready
    first = current(place)
    with pytest.raises(
        UserError, match="no candidate has an id that begins with 'zzz': take it from under the picture"
    ):
        raise restage("references", "pip", "--keep", "zzz").exception or AssertionError
    assert current(place) == first


def test_json_is_for_scripts(ready: Path) -> None:
    place = ready
    found = json.loads(restage("references", "pip", "--json").stdout)
    assert found["candidates"] == COUNT
    assert found["chosen"] == list(current(place).choice.order)
    assert Path(found["report"]).is_file()


def test_fill_makes_the_missing_shots_up_to_a_bound(ready: Path) -> None:
    """Four steps leave pictures in which CLIP sees anything, so something always repeats."""
    place = ready
    with (place / "settings.toml").open("a") as file:
        file.write("lint_share = 0.0\nfill_rounds = 2\n")
    restage("references", "pip")
    findings = current(place).choice.findings
    missing = [cell for finding in findings for cell in finding.missing]
    done = restage("references", "pip", "--fill")
    assert done.exit_code == 0, done.output
    assert missing
    more = [each.candidate.cell for each in current(place).choice.verdicts[COUNT:]]
    assert len(pictures(place)) == COUNT + len(more)
    assert all(cell in more for cell in missing)
    numbers = [each.candidate.number for each in current(place).choice.verdicts]
    assert numbers == list(range(len(numbers)))


def learned(path: Path, token: str) -> Path:
    """An embedding as wide as toybox's encoders."""
    generator = torch.Generator().manual_seed(1)
    tables = tuple(0.05 * torch.randn(2, width, generator=generator) for width in (96, 128))
    embeddings.write(path, embeddings.Embedding(token, tables), {})
    return path


def test_the_next_round_is_made_with_what_was_learned(ready: Path) -> None:
    before = current(ready)
    done = restage("references", "pip", "--word", str(learned(ready / "pip.safetensors", "<pip>")), "--round", "2")
    assert done.exit_code == 0, done.output
    made = current(ready)
    assert all(
        "<pip>" in each.candidate.prompt and "teal" not in each.candidate.prompt for each in made.choice.verdicts
    )
    assert [each.candidate.seed for each in made.choice.verdicts] == [e.candidate.seed for e in before.choice.verdicts]
    assert len(pictures(ready)) == 2 * COUNT
    assert made.round == 2
    assert made.choice.figures["distance"] > 0


def test_a_word_of_another_persona_is_refused(ready: Path) -> None:
    found = restage("references", "pip", "--word", str(learned(ready / "mara.safetensors", "<mara>"))).exception
    assert isinstance(found, UserError)
    assert "is the embedding of <mara>, which these prompts do not name" in str(found)


def test_characters_can_be_compared_by_dinov2(ready: Path) -> None:
    make_dino(ready / "dino", seed=0)
    before = current(ready)
    with (ready / "settings.toml").open("a") as file:
        file.write('identity_scorer = "dinov2:dino"\n')
    done = restage("references", "pip")
    assert done.exit_code == 0, done.output
    made = current(ready)
    assert made.scorer.endswith("dinov2:dino")
    likeness = [
        [each.scores["identity"] for each in one.choice.verdicts if "identity" in each.scores] for one in (before, made)
    ]
    assert likeness[0] != likeness[1]
    assert [each.scores["prompt"] for each in made.choice.verdicts] == [
        each.scores["prompt"] for each in before.choice.verdicts
    ]


def test_too_few_survivors_end_with_one_sentence_and_a_report(ready: Path) -> None:
    place = ready
    before = current(place)
    with (place / "settings.toml").open("a") as file:
        file.write("blank_spread = 200\n")
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", "references", "pip"], cwd=place, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(
        f"restage: pip: only 0 of {COUNT} candidates passed the gates and 4 are needed ({COUNT} blank): raise "
        "references.candidates or loosen references.blank_spread"
    )
    page = re.search(r"\((\S+report\.html) shows", done.stderr)
    assert page
    assert "No usable set" in Path(page[1]).read_text()
    assert current(place) == before, "the usable set stays the current one"


@pytest.fixture
def own(place: Path) -> Path:
    """A folder of own pictures for a persona that has none to generate."""
    folder = place / "prompts" / "mine"
    folder.mkdir()
    text = (place / "prompts" / "pip.toml").read_text()
    text = (
        text.replace('identity = "core"', 'identity = ""')
        .replace('source = "generate"', 'source = "folder"')
        .replace('folder = ""', 'folder = "mine"', 1)
    )
    (place / "prompts" / "pip.toml").write_text(text)
    return folder


def draw(folder: Path, count: int) -> None:
    for number in range(count):
        critter = world.Critter(scene=world.SCENES[number % 8], framing=world.FRAMINGS[number % 3], seed=number)
        draw(critter, (160, 200)).save(folder / f"{number}.jpg")


def test_own_pictures_are_filtered_too_and_bad_files_named(place: Path, own: Path) -> None:
    draw(own, 8)
    for number in (1, 4, 6):
        (own / f"{number}.jpg").write_bytes(b"\xff\xd8\xff broken")
    (own / "7.jpg").rename(own / os.fsdecode(b"b\xe4r.jpg"))  # as old archives and shares write names
    (own / os.fsdecode(b"notiz\xe4.txt.pdf")).write_bytes(b"")
    done = restage("references", "pip")
    assert done.exit_code == 0, done.output
    made = current(place)
    assert len(made.choice.verdicts) == 5
    assert [name for name, _ in made.skipped] == ["1.jpg", "4.jpg", "6.jpg", "notiz\N{REPLACEMENT CHARACTER}.txt.pdf"]
    assert "b\N{REPLACEMENT CHARACTER}r.jpg" in {each.candidate.source for each in made.choice.verdicts}
    page = (place / "studio" / "references" / "pip" / made.id / "report.html").read_text()
    assert "Files that could not be used (4)" in page


def test_an_empty_folder_is_one_sentence(place: Path, own: Path) -> None:
    found = restage("references", "pip").exception
    assert isinstance(found, UserError)
    assert str(own) in str(found)


def made_so_far(place: Path) -> int:
    return len([path for path in pictures(place) if not path.name.startswith(".")])


@pytest.mark.slow
def test_killed_in_the_middle_it_goes_on_where_it_was(place: Path) -> None:
    """The shipped batch size is four: what a batch had not finished is lost, all else is kept."""
    settings = (place / "settings.toml").read_text().replace("steps = 4", "steps = 12")
    (place / "settings.toml").write_text(settings.replace(f"candidates = {COUNT}", "candidates = 24"))
    command = [sys.executable, "-m", "flows.cli", "references", "pip"]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    run = subprocess.Popen(command, cwd=place, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    for _ in range(9000):
        if made_so_far(place) >= 9 or run.poll() is not None:
            break
        time.sleep(0.02)
    run.send_signal(signal.SIGKILL)
    run.wait()
    kept = {path: path.stat().st_mtime_ns for path in pictures(place)}
    assert 9 <= len(kept) < 24, "the kill came too late to show anything"
    for path in kept:
        Image.open(path).verify()
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert len(pictures(place)) == 24
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert re.search(rf"candidates: (\d+)/{(24 - len(kept)) * 12} steps", done.stderr), done.stderr


@pytest.mark.slow
def test_prefect_runs_the_same_and_shows_the_report(ready: Path, prefect: None) -> None:
    from prefect.client.orchestration import get_client

    from flows.references import flow

    page = flow()(persona="pip")
    assert Path(page).is_file()
    with get_client(sync_client=True) as client:
        (run,) = [run for run in client.read_flow_runs() if run.name == "references of pip"]
        names = {each.name.rpartition("-")[0] for each in client.read_task_runs() if each.flow_run_id == run.id}
        (artifact,) = [each for each in client.read_artifacts() if each.key == "references-pip"]
    assert names == {"generate", "score", "choose", "report"}
    assert "data:image/jpeg;base64," in artifact.data
    assert "Dropped:" in artifact.data


PLANTED = """
[models]
name = "toybox"
[references]
keep = 4
cluster_least = 6
"""


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Verdict]:
    """What is decided about drawings of one character, among which faults were planted; by file name."""
    folder = tmp_path_factory.mktemp("planted")
    (folder / "settings.toml").write_text(PLANTED)
    mine = folder / "prompts" / "mine"
    mine.mkdir(parents=True)
    text = (REPOSITORY / "prompts" / "pip.toml").read_text()
    text = (
        text.replace('identity = "core"', 'identity = ""')
        .replace('source = "generate"', 'source = "folder"')
        .replace('folder = ""', 'folder = "mine"', 1)
    )
    (folder / "prompts" / "pip.toml").write_text(text)
    scenes = [scene for scene in world.SCENES if scene not in ("night", "sea")]
    for number in range(18):
        critter = dataclasses.replace(
            world.PIP, scene=scenes[number % 6], framing=world.FRAMINGS[number // 6], accessory="none", seed=number
        )
        draw(critter, 256).save(mine / f"pip{number:02}.png")
    Image.open(mine / "pip03.png").resize((250, 250)).save(mine / "zz-duplicate.jpg", quality=90)
    Image.new("RGB", (256, 256), (120, 120, 120)).save(mine / "zz-blank.png")
    Image.new("RGB", (256, 256), "white").save(mine / "zz-white.png")
    Image.open(mine / "pip05.png").filter(ImageFilter.GaussianBlur(12)).save(mine / "zz-blurred.png")
    draw(dataclasses.replace(world.PIP, kind="owl", scene="beach", seed=77), 256).save(mine / "zz-owl.png")
    stranger = dataclasses.replace(
        world.PIP, colour="red", belly="charcoal", eyes="sleepy", marking="mask", marking_colour="black", seed=78
    )
    draw(stranger, 256).save(mine / "zz-stranger.png")
    references("pip", load(folder / "settings.toml"))
    found = Shelf(folder / "studio", "pip").current()
    assert found
    return {verdict.candidate.source: verdict for verdict in found.choice.verdicts}


@pytest.mark.parametrize(
    ("file", "codes"),
    [
        ("zz-duplicate.jpg", {"duplicate"}),
        ("zz-blank.png", {"blank"}),
        ("zz-white.png", {"blank"}),
        ("zz-blurred.png", {"blurred"}),
        ("zz-owl.png", {"kind"}),
        ("zz-stranger.png", {"stranger"}),
    ],
)
def test_a_planted_fault_is_found_for_what_it_is(file: str, codes: set[str], planted: dict[str, Verdict]) -> None:
    assert planted[file].status == "dropped"
    assert planted[file].code in codes, planted[file].reason


def test_the_character_itself_is_chosen(planted: dict[str, Verdict]) -> None:
    chosen = [file for file, verdict in planted.items() if verdict.status == "chosen"]
    assert len(chosen) == 4
    assert all(file.startswith("pip") for file in chosen)
    good = [verdict for file, verdict in planted.items() if file.startswith("pip")]
    assert sum(verdict.stage == "diversity" for verdict in good) >= 14, [verdict.reason for verdict in good]
