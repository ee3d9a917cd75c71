"""From what is due to posts that await review, by the command and as a Prefect flow."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner, Result

from flows.cli import app
from flows.render import Outcome, render
from models import provenance
from models.embeddings import About, Embedding
from models.fingerprint import pixel_hash
from models.pictures import open_picture
from models.toybox import world
from models.toybox.drawing import draw
from tasks import posts, review, versions
from tasks.artifacts import Artifacts
from tasks.persona import find
from tasks.plan import plan
from tasks.post import Post
from tasks.reference_set import Candidate, Choice, ReferenceSet, Shelf, Verdict
from tasks.render import Span
from tasks.settings import Loaded, load
from tasks.shots_of_day import seeds
from tasks.store import Store
from tests.tasks.calendars import toml

REPOSITORY = Path(__file__).parents[2]
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
OPEN = {"identity": -1000, "prompt": -1000, "detail": 0, "blank_spread": 0, "unwanted_margin": 1, "candidates": 2}
OPEN |= {"duplicate_bits": -1, "duplicate_share": 0, "rounds": 2}
HEAD = 'name = "pip"\ntoken = "<pip>"\nclass_word = "cat"\nkind = "character"\nsubject = "a red cat"\n'
PREVIEW = '[preview]\nprompts = ["a photo of {subject} in the street", "a portrait of {subject} on the beach"]\n'
CALENDAR: dict[str, Any] = {"timezone": "Europe/Berlin", "from": "2026-11-01", "at": "09:00", "size": "square"}
WALK: dict[str, Any] = {
    "id": "walk",
    "prompt": "a photo of ({{ token }}:1.2) in the forest",
    "caption": "Walk no. {{ count }}",
    "hashtags": ["cat", "{{ weekday }}"],
}
PLAIN: dict[str, Any] = {"id": "plain", "prompt": "a photo of a red cat on the beach", "size": "story", "at": "08:00"}


def write(folder: Path, *shots: dict[str, Any]) -> None:
    """Pip's file with these shots, each daily where it does not say otherwise."""
    text = HEAD + PREVIEW + "[calendar]\n" + toml(CALENDAR)
    for shot in shots:
        text += "[[calendar.shot]]\n" + toml({"when": "daily"} | shot)
    (folder / "prompts").mkdir(exist_ok=True)
    (folder / "prompts" / "pip.toml").write_text(text)


def learn(folder: Path) -> None:
    """A word and references, as they stand after a training."""
    known, who = load(folder / "settings.toml"), find("pip", folder)
    draw = torch.Generator().manual_seed(0)
    word = Embedding("<pip>", tuple(torch.randn(2, width, generator=draw) for width in (32, 48)))
    with closing(Store.open("", known.studio)) as store:
        versions.keep(store, known.studio, "pip", word, About())
        versions.use(store, "pip", 1, "for a test", "test")
    verdicts = []
    for number, scene in enumerate(("forest", "beach", "snow")):
        file = known.studio / "drawings" / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        draw(world.Critter(kind="cat", scene=scene, seed=number)).save(file)
        candidate = Candidate(str(number), f"drawings/{number}.png", number=number)
        verdicts.append(Verdict(candidate, "chosen", "diversity", "", ""))
    choice = Choice(verdicts, ["0", "1", "2"], {})
    Shelf(known.studio, "pip").put(ReferenceSet.of(who, 1, known.settings.references, "test", choice))


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory, sdxl_folder: Path) -> Path:
    """A place in which pip is learned and one day is rendered, to be copied; its pictures need not be made again."""
    place = tmp_path_factory.mktemp("render") / "learned"
    place.mkdir()
    (place / "settings.toml").write_text(
        f'[models]\nname = "{sdxl_folder}"\n[rendering]\nsteps = 2\nwidth = 64\nheight = 64\n[gates]\n{toml(OPEN)}'
    )
    write(place, WALK, PLAIN)
    learn(place)
    render("pip", load(place / "settings.toml"), now=NOON)
    for file in (place / "studio").glob("restage.db*"):
        shutil.copy(file, place / file.name)
    with closing(Store.open("", place / "studio")) as store, store.writing() as connection:
        for table in ("post_event", "candidate", "post_revision", "post"):
            connection.exec_driver_sql(f"DELETE FROM {table}")
    return place


@pytest.fixture
def place(learned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With the pictures of one day, and no post."""
    shutil.copytree(learned, tmp_path / "place")
    monkeypatch.chdir(tmp_path / "place")
    return tmp_path / "place"


def known(place: Path) -> list[Post]:
    with closing(Store.open("", place / "studio")) as store:
        return posts.find(store)


def candidates(place: Path, post: Post) -> Sequence[Any]:
    with closing(Store.open("", place / "studio")) as store:
        return posts.candidates(store, post.id)


def gated(place: Path, **gates: Any) -> Loaded:
    """With other gates than those that let everything through."""
    file = place / "settings.toml"
    file.write_text(file.read_text().partition("[gates]")[0] + "[gates]\n" + toml(OPEN | gates))
    return load(file)


def rendered(place: Path, now: datetime = NOON, **options: Any) -> Outcome:
    return render("pip", load(place / "settings.toml"), now=now, **options)


def pictures(place: Path) -> dict[str, str]:
    """The hash of the pixels of every picture."""
    found = (place / "studio" / "artifacts").rglob("*.png")
    return {path.stem: pixel_hash(open_picture(path)) for path in found}


def restage(*words: str) -> Result:
    return CliRunner().invoke(app, ["render", "pip", *words])


def test_what_is_due_awaits_review(place: Path) -> None:
    outcome = rendered(place)
    plain, walk = known(place)
    assert (plain.shot, walk.shot) == ("plain", "walk"), "in order of time"
    assert {plain.state, walk.state} == {"awaiting review"}
    assert walk.key == "pip/walk/2026-11-23"
    assert walk.content.caption == "Walk no. 23"
    assert walk.content.hashtags == ("cat", "monday")
    assert (walk.content.kind, plain.content.kind) == ("photo", "story")
    assert walk.content.account == "pip", "who names no account gets one by the persona"
    assert f"{walk.content.when:%Y-%m-%d %H:%M %Z}" == "2026-11-23 09:00 CET"
    assert len(walk.embedding) == 64, "which word it was made with"
    [shown] = walk.content.pictures
    assert shown.alt == "An AI-made picture of a cat in the forest."
    data = (place / "studio" / shown.file).read_bytes()
    assert hashlib.sha256(data).hexdigest() == shown.sha256
    assert Image.open(place / "studio" / shown.file).size == (shown.width, shown.height) == (1080, 1080)
    assert [each.fresh for each in outcome.render.posts] == [True, True]
    assert not outcome.render.failures


def test_every_candidate_is_kept_with_its_seed_scores_and_reason(place: Path) -> None:
    [_, walk] = rendered(place).render.posts
    made = candidates(place, walk.post)
    assert [each.number for each in made] == [0, 1]
    found = [provenance.read(Artifacts(place / "studio").picture(each.picture))[1].shot.seed for each in made]
    [due] = [each for each in plan(find("pip", place), NOON - timedelta(hours=12), NOON).due if each.shot == "walk"]
    assert found == seeds(due, 2)
    for each in made:
        assert each.passed
        assert each.reason.startswith("passed: ")
        assert {"identity", "detail", "spread"} <= set(each.scores)
        assert len(each.likeness) == 16


def test_a_second_time_makes_nothing_twice(place: Path) -> None:
    first, before = rendered(place), pictures(place)
    then = known(place)
    again = rendered(place, NOON + timedelta(hours=1))
    assert known(place) == then
    assert pictures(place) == before
    assert again.page == first.page, "the same posts have the same page"
    assert not any(each.fresh for each in again.render.posts)


def test_the_same_prompts_and_seeds_are_the_same_pictures(place: Path, learned: Path) -> None:
    before = pictures(learned)
    rendered(place)
    assert pictures(place) == before, "the database was emptied; the pictures were found"


def test_where_no_candidate_passes_more_are_made_and_then_it_is_said(place: Path) -> None:
    gated(place, detail=1000)
    outcome = rendered(place)
    plain, walk = known(place)
    assert {plain.state, walk.state} == {"draft"}
    assert walk.problem == "none of 4 candidates passed the gates (4 blurred)"
    assert walk.content.pictures == ()
    made = candidates(place, walk)
    assert [each.number for each in made] == [0, 1, 2, 3]
    assert len({each.picture for each in made}) == 4
    assert all(each.reason.startswith("blurred: ") and not each.passed for each in made)
    assert len(outcome.render.failures) == 2
    assert f"restage review {walk.id}" in outcome.render.failures[1]


def test_a_draft_that_failed_is_left_alone_until_it_is_asked_for_again(place: Path) -> None:
    gated(place, detail=1000, rounds=1)
    rendered(place)
    before = known(place)
    later = rendered(place, NOON + timedelta(hours=1))
    assert known(place) == before
    assert not later.render.failures, "it was told when it failed"
    gated(place)
    rendered(place, NOON + timedelta(hours=2), again=True)
    for post in known(place):
        assert (post.state, post.problem) == ("awaiting review", "")
        assert [each.number for each in candidates(place, post)] == [0, 1, 2, 3]
        assert len({each.picture for each in candidates(place, post)}) == 4
        assert post.content.pictures[0].picture in {each.picture for each in candidates(place, post)[2:]}


def test_a_person_may_take_a_dropped_candidate(place: Path) -> None:
    loaded = gated(place, detail=1000, rounds=1)
    rendered(place)
    [_, walk] = known(place)
    with closing(Store.open("", place / "studio")) as store:
        taken = review.swap(store, walk, "me", 1, loaded)
    assert taken.state == "awaiting review"
    assert taken.content.pictures[0].picture == candidates(place, walk)[1].picture


def test_new_pictures_that_a_person_wants_have_new_seeds_and_keep_their_words(place: Path) -> None:
    rendered(place)
    loaded = load(place / "settings.toml")
    with closing(Store.open("", place / "studio")) as store:
        [_, walk] = posts.find(store)
        edited = review.edit(store, walk, "me", review.Changes(caption="My own words", alts=["My own alt"]), loaded)
        review.regenerate(store, edited, "me")
    outcome = rendered(place)
    [_, now] = known(place)
    assert (now.state, now.content.caption) == ("awaiting review", "My own words")
    assert now.content.pictures[0].alt == "My own alt"
    assert [each.number for each in candidates(place, now)] == [0, 1, 2, 3]
    assert now.content.pictures[0].picture in {each.picture for each in candidates(place, now)[2:]}
    assert len({each.picture for each in candidates(place, now)}) == 4, "no seed comes twice"
    assert [each.fresh for each in outcome.render.posts] == [False, True]


def test_a_draft_whose_shot_is_gone_is_told(place: Path) -> None:
    rendered(place)
    with closing(Store.open("", place / "studio")) as store:
        review.regenerate(store, posts.find(store)[1], "me")
    write(place, PLAIN)
    [problem] = rendered(place).render.failures
    assert (
        "pip/walk/2026-11-23, which is not in the calendar any more: put the shot back, or reject the post" in problem
    )


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "a template that loops for ever": (
        {"prompt": "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}"},
        "prompt: ",
    ),
    "a template that reads a file": ({"prompt": "{% include '/etc/passwd' %}"}, "prompt: "),
    "a template that divides by nought": ({"prompt": "{{ 1 / 0 }}"}, "prompt: "),
    "an unknown variable": ({"prompt": "{{ tokn }}"}, "tokn"),
    "a list that is missing": ({"prompt": "a cat __nowhere__"}, "nowhere"),
    "a rule that never comes": ({"when": "cron 0 0 30 2 *"}, "when"),
    "a caption that is too long": ({"caption": "x" * 2201}, "2200"),
    "31 hashtags": ({"hashtags": [f"tag{n}" for n in range(31)]}, "30"),
    "a picture to start from that is gone": ({"init": "gone.png"}, "gone.png"),
    "a picture to start from that is none": ({"init": "pip.toml"}, "pip.toml"),
    "a LoRA that is gone": ({"loras": ["gone.safetensors"]}, "gone.safetensors"),
    "an unknown key": ({"promt": "a cat"}, "promt"),
}


@pytest.mark.parametrize("fault", BAD, ids=list(BAD))
def test_a_bad_shot_is_told_in_a_sentence_and_the_others_are_made(place: Path, fault: str) -> None:
    wrong, word = BAD[fault]
    write(place, {"id": "bad", "prompt": "a photo of a cat"} | wrong, PLAIN)
    outcome = rendered(place)
    [problem] = outcome.render.failures
    assert problem.startswith(f"{place / 'prompts' / 'pip.toml'}: shot 'bad': ")
    assert word in problem
    assert "\n" not in problem
    assert [post.shot for post in known(place)] == ["plain"]


def test_a_word_that_is_not_learned_is_told_and_the_others_are_made(place: Path) -> None:
    with closing(Store.open("", place / "studio")) as store, store.writing() as connection:
        connection.exec_driver_sql("DELETE FROM embedding_current")
    [problem] = rendered(place).render.failures
    assert "shot 'walk': " in problem
    assert "restage train pip" in problem
    assert [post.shot for post in known(place)] == ["plain"]


def test_a_file_of_weights_that_is_broken_keeps_no_other_shot_from_being_made(place: Path) -> None:
    (place / "prompts" / "bad.safetensors").write_bytes(b"no weights")
    write(place, {"id": "bad", "prompt": "a photo of a cat", "loras": ["bad.safetensors:1"]}, PLAIN)
    [problem] = rendered(place).render.failures
    assert "shot 'bad'" in problem
    assert [post.shot for post in known(place)] == ["plain"]


def test_a_shot_may_start_from_what_another_one_became(place: Path) -> None:
    write(place, {"id": "evening", "prompt": "a painting of a cat", "init": "plain", "strength": 0.9}, PLAIN)
    assert not rendered(place).render.failures
    plain, evening = known(place)
    record = json.loads(
        Artifacts(place / "studio").picture(evening.content.pictures[0].picture).with_suffix(".json").read_text()
    )
    start = Artifacts(place / "studio").picture(plain.content.pictures[0].picture)
    assert record["shot"]["init"]["hash"] == pixel_hash(open_picture(start))


def test_a_shot_whose_start_was_never_made_is_told(place: Path) -> None:
    first = {"id": "first", "when": "2026-11-20", "prompt": "a photo of a cat"}
    write(place, first, {"id": "evening", "prompt": "a painting of a cat", "init": "first"}, PLAIN)
    [problem] = rendered(place).render.failures
    assert problem.endswith(
        "shot 'evening': init: pip/first/2026-11-20 has no picture to start from: render that day first"
    )
    assert [post.shot for post in known(place)] == ["plain"]


def test_what_goes_out_is_the_finished_picture(place: Path) -> None:
    """Made larger by the model once more; the candidate that was chosen is known by that."""
    with (place / "settings.toml").open("a") as file:
        file.write('[pictures]\nupscale = "refine"\nrefine_strength = 0.6\n')
    write(place, PLAIN)
    [made] = rendered(place).render.posts
    [shown] = made.post.content.pictures
    shot = provenance.read(Artifacts(place / "studio").picture(shown.picture))[1].shot
    assert shot.init is not None
    assert (shot.width, shot.height) == (80, 80)
    assert made.chosen is not None
    assert made.chosen.picture == shown.picture
    with closing(Store.open("", place / "studio")) as store:
        assert [post.id for post, _ in posts.likenesses(store, ["awaiting review"])] == [made.post.id]


def test_no_two_posts_show_the_same(place: Path) -> None:
    gated(place, duplicate_bits=64)
    rendered(place)
    plain, walk = known(place)
    assert plain.state == "awaiting review"
    assert walk.problem == "none of 4 candidates passed the gates (4 like another post)"
    assert all(f"duplicate: of the picture of post {plain.id}" in each.reason for each in candidates(place, walk))


def test_what_went_out_before_counts_as_well(place: Path) -> None:
    write(place, PLAIN)
    rendered(place)
    gated(place, duplicate_bits=64)
    write(place, WALK)
    rendered(place)
    [_, walk] = known(place)
    assert walk.problem == "none of 4 candidates passed the gates (4 like another post)"


def test_the_words_of_disclosure_are_the_last_line(place: Path) -> None:
    with (place / "settings.toml").open("a") as file:
        file.write('[publishing]\ndisclosure = "Made with AI."\naccount = "pip.the.cat"\n')
    write(place, WALK, PLAIN | {"caption": "Look: made  with ai."})
    rendered(place)
    plain, walk = known(place)
    assert walk.content.caption == "Walk no. 23\n\nMade with AI."
    assert plain.content.caption == "Look: made with ai."
    assert walk.content.account == "pip.the.cat"


def test_a_caption_too_long_for_its_disclosure_is_told(place: Path) -> None:
    with (place / "settings.toml").open("a") as file:
        file.write('[publishing]\ndisclosure = "Made with AI."\n')
    write(place, WALK | {"caption": "x" * 2195, "hashtags": []}, PLAIN)
    [problem] = rendered(place).render.failures
    assert "shot 'walk': caption: " in problem
    assert [post.shot for post in known(place)] == ["plain"]


def test_days_ahead_are_rendered_at_once(place: Path) -> None:
    outcome = rendered(place, span=Span(days=3), candidates=1)
    assert [post.key[4:] for post in known(place)] == [
        f"{shot}/2026-11-{day}" for day in (23, 24, 25) for shot in ("plain", "walk")
    ]
    assert all(len(each.candidates) == 1 for each in outcome.render.posts)
    rendered(place, span=Span(since="2026-11-24", until="2026-11-25"), candidates=1)
    assert len(known(place)) == 6


def test_after_a_long_time_off_each_shot_is_caught_up_in_its_way(place: Path) -> None:
    write(place, WALK | {"catch_up": "skip"}, PLAIN | {"when": "mon", "catch_up": "latest"})
    rendered(place, candidates=1)
    later = NOON + timedelta(days=40)
    rendered(place, later, candidates=1)
    assert [post.key[4:] for post in known(place)] == [
        "plain/2026-11-23",
        "walk/2026-11-23",
        "plain/2026-12-28",
        "walk/2027-01-02",
    ]


def test_what_failed_yesterday_is_due_today(place: Path) -> None:
    write(place, WALK | {"when": "mon", "prompt": "{{ tokn }}"}, PLAIN)
    assert rendered(place, candidates=1).render.failures
    write(place, WALK | {"when": "mon"}, PLAIN)
    rendered(place, NOON + timedelta(days=1, hours=1), candidates=1)
    assert "pip/walk/2026-11-23" in {post.key for post in known(place)}


def test_a_new_persona_starts_today(place: Path) -> None:
    rendered(place, NOON - timedelta(hours=4, minutes=15), candidates=1)
    assert [post.key for post in known(place)] == ["pip/plain/2026-11-23"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--since", "tomorrow"], "--since 'tomorrow' is no date: write it as 2026-12-24"),
        (["--until", "2026-02-30"], "--until '2026-02-30' is no date: write it as 2026-12-24"),
        (["--since", "2026-12-02", "--until", "2026-12-01"], "name a later day, or an earlier --since"),
        (["--days", "2", "--until", "2026-12-01"], "--days and --until both say where to end: give one of them"),
    ],
)
def test_days_that_mean_nothing_are_refused(place: Path, words: list[str], said: str) -> None:
    done = restage(*words)
    assert done.exit_code == 1
    assert said in str(done.exception)


def test_the_command_says_a_line_for_each_post_and_the_page(place: Path) -> None:
    done = restage("--since", "2026-11-23", "--until", "2026-11-23")
    assert done.exit_code == 0, done.output
    plain, walk, page = done.stdout.strip().splitlines()
    assert plain.startswith("Mon 2026-11-23  plain  ")
    assert "awaiting review" in walk
    assert "identity " in walk
    assert Path(page).is_file()
    assert Path(page).with_name("sheet.png").is_file()
    found = json.loads(restage("--since", "2026-11-23", "--until", "2026-11-23", "--json").stdout)
    assert [each["shot"] for each in found["posts"]] == ["plain", "walk"]
    assert [each["made"] for each in found["posts"]] == [False, False]
    assert found["page"] == page


def test_the_command_ends_with_1_where_a_shot_failed(place: Path) -> None:
    write(place, WALK | {"prompt": "{{ tokn }}"}, PLAIN)
    done = restage("--since", "2026-11-23", "--until", "2026-11-23")
    assert done.exit_code == 1
    assert "shot 'walk': " in done.stderr
    assert "plain" in done.stdout


def test_nothing_due_is_said(place: Path) -> None:
    write(place, PLAIN | {"when": "2026-12-24"})
    done = restage("--since", "2026-11-23", "--until", "2026-11-23")
    assert (done.exit_code, done.stdout.strip()) == (0, "nothing is due")


def test_the_page_shows_problems_first_and_every_candidate_with_its_reason(place: Path) -> None:
    gated(place, detail=1000, rounds=1)
    write(place, WALK | {"caption": "<b>bold</b>"}, PLAIN | {"prompt": "{{ tokn }}"})
    page = rendered(place).page
    assert page
    text = page.read_text()
    assert text.index("tokn") < text.index("<article")
    assert text.count("of the fine detail that any cat has") == 2
    assert "<b>bold</b>" not in text
    assert "&lt;b&gt;bold" in text
    assert "http" not in text.replace("http-equiv", "")


KILL = """
import os, signal, sys
from datetime import datetime, UTC
from pathlib import Path
from flows.render import render
from tasks import posts
from tasks.artifacts import Artifacts
from tasks.settings import load

def dying(known, after):
    left = [after]
    def call(*words, **named):
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1
        return known(*words, **named)
    return call

where, after = sys.argv[1], int(sys.argv[2])
if where == "picture":
    Artifacts.save = dying(Artifacts.save, after)
else:
    posts.enqueue = dying(posts.enqueue, after)
render("pip", load(Path("settings.toml")), now=datetime(2026, 11, 23, 12, tzinfo=UTC))
"""


@pytest.mark.parametrize(("where", "after"), [("picture", 0), ("picture", 3), ("picture", 7), ("post", 0), ("post", 1)])
def test_killed_anywhere_the_next_run_ends_the_same(place: Path, learned: Path, where: str, after: int) -> None:
    shutil.rmtree(place / "studio" / "artifacts")
    killed = subprocess.run(
        [sys.executable, "-c", KILL, where, str(after)],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()[-2000:]
    assert len(known(place)) == (after if where == "post" else 0)
    rendered(place)
    assert pictures(place) == pictures(learned)
    undisturbed = {post.key: post.content.hash for post in rendered_before(learned)}
    assert {post.key: post.content.hash for post in known(place)} == undisturbed


def rendered_before(learned: Path) -> list[Post]:
    """The posts of a run that nobody disturbed."""
    place = learned.parent / "before"
    if not place.exists():
        place.mkdir()
        for file in learned.glob("restage.db*"):
            shutil.copy(file, place / file.name)
    with closing(Store.open("", place)) as store:
        return posts.find(store)


def test_the_flow_runs_under_prefect(place: Path, prefect: None) -> None:
    import asyncio

    from prefect.client.orchestration import get_client

    from flows.render import flow

    page = flow()("pip", since="2026-11-23", until="2026-11-23")
    assert Path(page).is_file()

    async def names() -> Sequence[str]:
        async with get_client() as client:
            return [run.name for run in await client.read_task_runs()]

    ran = asyncio.run(names())
    for name in ("plan", "candidates", "posts", "report"):
        assert any(each.startswith(name) for each in ran), ran
