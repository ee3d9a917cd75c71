"""From a reference set to a version of the word, by the command and as a Prefect flow."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from flows import lock
from flows.cli import app
from flows.train import train
from models import embeddings
from models.errors import UserError
from models.toybox import world
from models.toybox.drawing import draw
from tasks import versions
from tasks.settings import Loaded, load
from tasks.store import Store
from tasks.training import Desk, Training
from tasks.versions import Version

REPOSITORY = Path(__file__).parents[2]
SETTINGS = """
[models]
name = "toybox"
[rendering]
steps = 3
[references]
candidates = 8
keep = 3
cluster_least = 3
identity_spread = 1000
duplicate_likeness = 1
blur_spread = 1000
prompt_spread = 1000
[training]
vectors = 2
steps = 8
batch = 2
save_every = 2
validate_every = 2
validations = 2
preview_every = 4
preview_seeds = 1
least_steps = 100
"""
PREVIEW = """
[preview]
prompts = ["a portrait of {subject} at night", "a close-up of {subject} under water"]
"""


def write_project(folder: Path) -> Path:
    (folder / "prompts").mkdir(parents=True)
    (folder / "settings.toml").write_text(SETTINGS)
    pip = (REPOSITORY / "prompts" / "pip.toml").read_text()
    before, mark, _ = pip.partition("[preview]")
    (folder / "prompts" / "pip.toml").write_text((before if mark else pip).partition("[calendar]")[0] + PREVIEW)
    return folder


@pytest.fixture(scope="module")
def chosen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A place with references of pip, to be copied."""
    folder = write_project(tmp_path_factory.mktemp("train") / "chosen")
    done = restage("references", "pip", "--settings", str(folder / "settings.toml"))
    assert done.exit_code == 0, done.output
    return folder


@pytest.fixture(scope="module")
def trained(chosen: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """A place where the word of pip was learned, to be copied, and what the command said."""
    folder = tmp_path_factory.mktemp("train") / "trained"
    shutil.copytree(chosen, folder)
    done = restage("train", "pip", "--settings", str(folder / "settings.toml"))
    assert done.exit_code == 0, done.output
    return folder, done


def copied(folder: Path, to: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(folder, to)
    monkeypatch.chdir(to)
    return to


@pytest.fixture
def ready(chosen: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return copied(chosen, tmp_path / "place", monkeypatch)


@pytest.fixture
def done(trained: tuple[Path, Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return copied(trained[0], tmp_path / "place", monkeypatch)


def restage(*words: str) -> Result:
    return CliRunner().invoke(app, words)


def known(place: Path) -> list[Version]:
    store = Store.open("", place / "studio")
    try:
        return versions.versions(store, "pip")
    finally:
        store.close()


def training_of(place: Path) -> Training:
    [folder] = (place / "studio" / "trainings" / "pip").iterdir()
    return Desk(place / "studio", "pip").read(folder.name)


def said(place: Path, old: str, new: str) -> Loaded:
    file = place / "settings.toml"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
    return load(file)


def test_the_word_is_learned_registered_and_reported(trained: tuple[Path, Result]) -> None:
    place, done = trained
    training = training_of(place)
    assert training.step == 8
    assert len(training.losses) == 8
    assert [step for step, _ in training.validations] == [2, 4, 6, 8]
    assert [point.step for point in training.points] == [4, 8]
    assert training.kept in (4, 8)
    assert training.best.measures.score == max(point.measures.score for point in training.points)
    [version] = known(place)
    assert version.current
    assert version.number == training.version == 1
    word, about = versions.load(place / "studio", version)
    assert word == embeddings.read(place / "studio" / training.best.word)
    assert (about.persona, len(about.references), about.settings["vectors"]) == ("pip", 3, 2)
    assert about.metrics["score"] == pytest.approx(training.best.measures.score)
    page = Path(done.output.strip().splitlines()[-1])
    assert "<pip>" in page.read_text().replace("&lt;", "<").replace("&gt;", ">")
    assert page.with_name("grid.png").is_file()


def test_captions_name_what_varies_and_the_word_stands_for_the_rest(trained: tuple[Path, Result]) -> None:
    lesson = training_of(trained[0]).lesson
    assert lesson.origins == ["provenance"] * 3
    for [text] in lesson.captions:
        assert "<pip>" in text
        assert "fox" not in text
        assert "teal" not in text


def test_a_second_time_does_nothing_again(done: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (done / "studio" / "artifacts").rglob("*.png")}
    outcome = train("pip", load(done / "settings.toml"))
    assert outcome.training.version == 1
    assert {path: path.stat().st_mtime_ns for path in (done / "studio" / "artifacts").rglob("*.png")} == before
    assert len(known(done)) == 1


def test_the_same_place_gives_the_same_bits(trained: tuple[Path, Result], ready: Path) -> None:
    outcome = train("pip", load(ready / "settings.toml"))
    first = training_of(trained[0])
    assert outcome.training.points == first.points
    assert outcome.training.losses == first.losses
    assert [version.id for version in known(ready)] == [version.id for version in known(trained[0])]


@pytest.mark.parametrize("step", [3, 5])
def test_killed_in_the_middle_it_ends_in_the_same_bits(trained: tuple[Path, Result], ready: Path, step: int) -> None:
    """SIGKILL while a training is under way, at a moment that no checkpoint was made for."""
    script = (
        "import sys\nfrom models.inversion.training import _Run\nfrom pathlib import Path\n"
        "from flows.train import train\nfrom tasks.settings import load\n"
        "import os, signal\nplain = _Run.advance\n"
        f"def advance(run):\n    if run.step == {step}: os.kill(os.getpid(), signal.SIGKILL)\n    return plain(run)\n"
        "_Run.advance = advance\ntrain('pip', load(Path('settings.toml')))\n"
    )
    killed = subprocess.run(
        [sys.executable, "-c", script], cwd=ready, env={**os.environ, "PYTHONPATH": str(REPOSITORY)}
    )
    assert killed.returncode == -signal.SIGKILL
    assert training_of(ready).step == step - 1, "the last checkpoint is there, whole"
    outcome = train("pip", load(ready / "settings.toml"))
    first = training_of(trained[0])
    assert outcome.training.losses == first.losses
    assert outcome.training.points == first.points
    assert known(ready)[0].id == known(trained[0])[0].id


def test_what_another_process_learns_just_now_is_left_to_it(trained: tuple[Path, Result], ready: Path) -> None:
    place = Desk(ready / "studio", "pip").place(training_of(trained[0]).lesson.id)
    with lock.hold(place / ".lock", {}):
        assert f"pip is being trained already, by process {os.getpid()}: wait for it" in fails(ready)
    assert not list(place.glob("*.json")), "nothing was begun"


def test_more_steps_go_on_from_where_it_was(done: Path) -> None:
    first = training_of(done)
    outcome = train("pip", said(done, "steps = 8", "steps = 12"))
    assert outcome.training.lesson.id == first.lesson.id
    assert outcome.training.losses[:8] == first.losses
    assert [point.step for point in outcome.training.points] == [4, 8, 12]


def test_other_settings_are_another_training(done: Path) -> None:
    train("pip", said(done, "vectors = 2", "vectors = 1"))
    assert len(list((done / "studio" / "trainings" / "pip").iterdir())) == 2
    assert [version.vectors for version in known(done)] == [2, 1]


def test_it_stops_by_itself_when_previews_get_no_better(done: Path) -> None:
    loaded = said(done, "least_steps = 100", "least_steps = 4\npatience = 1\nrate = '1e-9'")
    training = train("pip", loaded.with_training(steps=200)).training
    assert training.by in ("score", "loss")
    assert training.step < 200


def worse(place: Path) -> Loaded:
    """Settings whose word cannot be better: it never leaves its class word, under which the previews are judged."""
    return said(place, "steps = 8\n", "steps = 1\nrate = '1e-9'\njitter = 10\n")


def test_only_a_version_that_is_no_worse_becomes_the_current_one(done: Path) -> None:
    training = train("pip", worse(done)).training
    old, new = known(done)
    assert new.score is not None
    assert old.score is not None
    assert (old.current, new.current) == ((False, True) if new.score >= old.score else (True, False))
    assert training.current == new.current
    assert "same previews" in training.verdict


def test_a_worse_version_becomes_the_current_one_when_told_so(done: Path) -> None:
    train("pip", worse(done), use=True)
    assert [version.current for version in known(done)] == [False, True]
    went_back = restage("embeddings", "use", "pip", "1")
    assert went_back.exit_code == 0, went_back.output
    assert [version.current for version in known(done)] == [True, False]


def test_rounds_make_references_with_what_was_learned(ready: Path) -> None:
    outcome = train("pip", load(ready / "settings.toml"), rounds=2)
    assert outcome.training.lesson.round == 2
    assert len(known(ready)) == 2
    made = _set(ready, outcome.training)
    assert all("<pip>" in each.candidate.prompt for each in made.choice.verdicts)
    assert made.settings["identity"] == "core", "the word says who it is: only strays are left out"


def test_rounds_end_where_a_word_is_worse_than_the_one_before(done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.train.again", lambda *_: 9.0)  # what the one before scores in these previews
    training = train("pip", worse(done), rounds=3).training
    assert (training.current, training.lesson.round) == (False, 1)
    assert len(known(done)) == 2


def _set(place: Path, training: Training):  # type: ignore[no-untyped-def]
    from tasks.reference_set import Shelf

    return Shelf(place / "studio", "pip").read(training.lesson.reference_set)


def test_the_command_can_speak_to_scripts(done: Path) -> None:
    found = restage("train", "pip", "--json")
    assert found.exit_code == 0, found.output
    values = json.loads(found.stdout)
    assert values["version"] == 1
    assert Path(values["report"]).is_file()


def fails(place: Path, *more: str) -> str:
    with pytest.raises(UserError) as error:
        train("pip", load(place / "settings.toml"))
    return str(error.value)


def test_no_references_yet_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(write_project(tmp_path / "place"))
    assert fails(tmp_path / "place") == "pip has no references yet: run restage references pip first"


def test_a_token_that_changed_since_the_references_is_one_sentence(ready: Path) -> None:
    file = ready / "prompts" / "pip.toml"
    file.write_text(file.read_text().replace('token = "<pip>"', 'token = "<pipo>"'))
    assert "were chosen for <pip>, and its file now says <pipo>" in fails(ready)


def test_a_reference_that_is_gone_is_named(ready: Path) -> None:
    current = json.loads((ready / "studio/references/pip/current.json").read_text())["set"]
    chosen = json.loads((ready / f"studio/references/pip/{current}/set.json").read_text())["choice"]["order"][0]
    (ready / "studio/artifacts/pictures" / chosen[:2] / f"{chosen}.png").unlink()
    assert f"{chosen}.png is gone" in fails(ready)


def test_an_initial_phrase_with_unknown_words_is_one_sentence(ready: Path) -> None:
    said(ready, "vectors = 2", "vectors = 2\ninit = 'fox qwrtzx'")
    assert "does not know 'qwrtzx'" in fails(ready)


def test_an_initial_file_that_is_not_there_is_one_sentence(ready: Path) -> None:
    said(ready, "vectors = 2", "vectors = 2\ninit = 'old.safetensors'")
    assert "training.init = 'old.safetensors': there is no such file" in fails(ready)


def test_training_goes_on_from_an_embedding(done: Path) -> None:
    word = restage("embeddings", "export", "pip", "first.safetensors")
    assert word.exit_code == 0, word.output
    outcome = train("pip", said(done, "vectors = 2", "vectors = 2\ninit = 'first.safetensors'"))
    assert outcome.training.version == 2
    (done / "first.safetensors").unlink()
    assert "there is no such file" in fails(done)


def test_a_torn_checkpoint_is_one_sentence_and_stays_where_it_is(done: Path) -> None:
    training = training_of(done)
    file = Desk(done / "studio", "pip").place(training.lesson.id) / training.state
    file.write_bytes(file.read_bytes()[:100])
    said(done, "steps = 8", "steps = 12")
    assert "torn" in fails(done)
    assert file.exists()


def test_a_checkpoint_that_cannot_be_written_loses_nothing(done: Path) -> None:
    """As on a full disk: what was there stays, and with room the training goes on."""
    training = training_of(done)
    place = Desk(done / "studio", "pip").place(training.lesson.id)
    blocked = place / "state-000010.safetensors"
    blocked.mkdir()
    said(done, "steps = 8", "steps = 12")
    assert str(blocked) in fails(done)
    assert training_of(done) == training
    blocked.rmdir()
    assert train("pip", load(done / "settings.toml")).training.step == 12


def test_a_loss_that_is_no_number_keeps_the_last_good_step(done: Path) -> None:
    loaded = said(done, "steps = 8", "steps = 12\nrate = '5e-3:8, 1e30'\nclip = 0\nkeep_norms = false")
    with pytest.raises(UserError, match="not a number"):
        train("pip", loaded)


def test_the_flow_runs_under_prefect(ready: Path, prefect: None) -> None:
    import asyncio

    from prefect.client.orchestration import get_client

    from flows.train import flow

    page = flow()("pip", settings=str(ready / "settings.toml"))
    assert Path(page).is_file()

    async def names() -> Sequence[str]:
        async with get_client() as client:
            return [run.name for run in await client.read_task_runs()]

    ran = asyncio.run(names())
    for name in ("prepare", "train", "register", "report"):
        assert any(each.startswith(name) for each in ran), ran


def test_nothing_but_the_word_is_different_afterwards(trained: tuple[Path, Result]) -> None:
    """No model was written into the studio: only pictures, words, checkpoints, records and the database."""
    kinds = {path.suffix or path.name for path in (trained[0] / "studio").rglob("*") if path.is_file()}
    assert kinds <= {".lock", ".png", ".json", ".safetensors", ".html", ".db", ".db-wal", ".db-shm", ".npz"}
    assert max(path.stat().st_size for path in (trained[0] / "studio").rglob("*.safetensors")) < 100_000
    assert time.time() > 0


@pytest.mark.slow
def test_two_processes_learn_together_and_one_of_them_writes(trained: tuple[Path, Result], ready: Path) -> None:
    """As `accelerate launch` starts them; sums come in another order, so the words differ in their last bits."""
    launched = subprocess.run(
        [
            *(sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2"),
            *("--num_machines", "1", "--mixed_precision", "no", "--main_process_ip", "127.0.0.1"),
            *("--main_process_port", "0", "--dynamo_backend", "no", "-m", "flows.cli", "train", "pip"),
        ],
        cwd=ready,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert launched.returncode == 0, launched.stderr[-3000:]
    [one] = known(ready)
    alone = embeddings.read(trained[0] / "studio" / training_of(trained[0]).best.word)
    together = embeddings.read(ready / "studio" / one.file)
    for first, second in zip(alone.vectors, together.vectors, strict=True):
        assert float((first - second).abs().max()) < 1e-4
    assert launched.stdout.count("report.html") == 1, "one of them speaks"


def test_own_pictures_are_learned_with_the_texts_beside_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = write_project(tmp_path / "place")
    monkeypatch.chdir(place)
    photos = place / "prompts" / "photos"
    photos.mkdir()
    for number, scene in enumerate(("forest", "beach", "snow", "city")):
        draw(world.Critter(scene=scene, seed=number)).save(photos / f"{number}.png")
    (photos / "0.txt").write_text("a portrait of a fox in the forest")
    (photos / "1.txt").write_text("at the beach, sunny")
    file = place / "prompts" / "pip.toml"
    file.write_text(
        file.read_text()
        .replace('source = "generate"', 'source = "folder"')
        .replace('folder = ""', 'folder = "photos"')
        .replace("seed = 7", "seed = 7\nkeep = 4\n#", 1)
        .replace("keep = 0", "#", 1)
    )
    assert restage("references", "pip").exit_code == 0
    lesson = train("pip", load(place / "settings.toml")).training.lesson
    found = dict(zip(lesson.origins, lesson.captions, strict=True))
    assert set(found) == {"txt", "template"}
    texts = [text for own in lesson.captions for text in own]
    assert "a portrait of <pip> in the forest" in texts
    assert "<pip>, at the beach, sunny" in texts


def test_a_step_whose_previews_are_gone_can_still_be_reported(done: Path) -> None:
    training = training_of(done)
    (done / "studio" / training.points[0].pictures[0]).unlink()
    assert restage("train", "pip").exit_code == 0
