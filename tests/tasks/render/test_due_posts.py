"""What is to be rendered, in which order, and what a post says: without a picture being made."""

import dataclasses
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.system.errors import UserError
from tasks.calendar.due import DueShot, ShotTexts
from tasks.calendar.wording import plan_due
from tasks.persona.persona import Persona
from tasks.posts import post_store
from tasks.posts.post import Post, PostCandidate, PostPicture
from tasks.render.due_posts import (
    DateSpan,
    add_disclosure,
    alt_text_for,
    default_alt_text,
    dependency_order,
    plan_render,
    post_content,
    store_post,
)
from tasks.render.results import RenderJob, plain_prompt
from tasks.settings.settings import LoadedSettings, Settings
from tasks.store.store import Store
from tests.support.calendars import entry, pip
from tests.support.stores import Opened

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
SHOWN = PostPicture("picture", "ready/a.jpg", "a" * 64, "A fox.", 1080, 1350)


def loaded(place: Path, **publishing: Any) -> LoadedSettings:
    return LoadedSettings(Settings.model_validate({"publishing": publishing}), place, {})


def due_now(persona: Persona) -> list[DueShot]:
    return plan_due(persona, NOON - timedelta(hours=13), NOON).due


def tried(number: int = 0, passed: bool = True, reason: str = "passed: well") -> PostCandidate:
    return PostCandidate(number, f"picture {number}", passed, reason, {"identity": 0.9})


def kept(store: Store, job: RenderJob, persona: Persona, place: Path, good: bool = True) -> Post:
    """A post of a job, as a render leaves it."""
    said = post_content(job, persona, loaded(place))
    if good:
        said = dataclasses.replace(said, pictures=(SHOWN,))
    candidate = tried(job.first, good, "passed: well" if good else "blurred: 3%")
    return store_post(store, job, said, [candidate], candidate if good else None, "word").post


def test_what_has_a_post_is_not_rendered_again(store: Store, tmp_path: Path) -> None:
    persona = pip(tmp_path, {"id": "one"}, {"id": "two"})
    first = plan_render(persona, store, DateSpan(), NOON)
    assert [job.due.shot for job in first.jobs] == ["one", "two"]
    post = kept(store, first.jobs[0], persona, tmp_path)
    assert post.state == "awaiting review"
    then = plan_render(persona, store, DateSpan(), NOON)
    assert [job.due.shot for job in then.jobs] == ["two"]
    assert [(each.post.shot, each.fresh) for each in then.there] == [("one", False)]


def test_a_render_under_a_clock_that_ran_ahead_holds_nothing_back(opened: Opened, tmp_path: Path) -> None:
    persona = pip(tmp_path, {"id": "daily", "when": "daily"})
    ahead = opened(clock=lambda: NOON + timedelta(days=400))
    [job] = plan_render(persona, ahead, DateSpan(), NOON).jobs
    kept(ahead, job, persona, tmp_path)
    tomorrow = NOON + timedelta(days=1)
    assert [job.due.when.date() for job in plan_render(persona, opened(), DateSpan(), tomorrow).jobs] == [
        tomorrow.date()
    ]


def test_of_drafts_those_are_rendered_that_a_person_wants(store: Store, tmp_path: Path) -> None:
    persona = pip(tmp_path, {"id": "one"}, {"id": "two"})
    jobs = plan_render(persona, store, DateSpan(), NOON).jobs
    failed, wanted = (kept(store, job, persona, tmp_path, good) for job, good in zip(jobs, (False, True), strict=True))
    post_store.change(store, wanted, "draft", "me", "another one")
    assert failed.problem == "none of 1 candidates passed the gates (1 blurred)"
    [job] = plan_render(persona, store, DateSpan(), NOON).jobs
    assert (job.due.shot, job.first) == ("two", 1)
    assert [job.due.shot for job in plan_render(persona, store, DateSpan(), NOON, again=True).jobs] == ["one", "two"]
    post = kept(store, job, persona, tmp_path)
    assert (post.state, post.revision) == ("awaiting review", 2)
    assert [each.number for each in post_store.candidates(store, post.id)] == [0, 1]


def test_a_draft_is_rendered_whenever_it_is_due(store: Store, tmp_path: Path) -> None:
    """A person may have moved it, and the render may be of other days."""
    persona = pip(tmp_path, {"id": "cron", "when": "cron 30 8 * * *"})
    [job] = plan_render(persona, store, DateSpan(), NOON).jobs
    post = kept(store, job, persona, tmp_path)
    post = post_store.edit(store, post, dataclasses.replace(post.content, when=NOON + timedelta(days=9)), "me", "later")
    post_store.change(store, post, "draft", "me", "another one")
    ahead = plan_render(persona, store, DateSpan(since="2026-12-24", days=1), NOON)
    assert [each.due.key for each in ahead.jobs if each.post] == [post.key]
    assert next(each.due.when for each in ahead.jobs if each.post) == NOON + timedelta(days=9)


@pytest.mark.parametrize(
    ("span", "days"),
    [
        (DateSpan(), [23]),
        (DateSpan(since="2026-11-21"), [22]),  # of what was missed, the last day
        (DateSpan(days=2), [23, 24]),
        (DateSpan(since="2026-11-20", days=2), [20, 21]),
        (DateSpan(since="2026-11-25", until="2026-11-26"), [25, 26]),
        (DateSpan(until="2026-11-24"), [23, 24]),
    ],
)
def test_the_days_of_a_span(tmp_path: Path, span: DateSpan, days: list[int]) -> None:
    persona = pip(tmp_path, {"id": "one"}, at="18:00")
    now = NOON.replace(hour=19) if span == DateSpan() else NOON
    with_store = Store.open("", tmp_path / "studio")
    try:
        assert [job.due.when.day for job in plan_render(persona, with_store, span, now).jobs] == days
    finally:
        with_store.close()


def test_whoever_starts_from_another_picture_comes_later(tmp_path: Path) -> None:
    persona = pip(tmp_path, {"id": "c", "init": "b"}, {"id": "a"}, {"id": "b", "init": "a"}, {"id": "d"})
    found = dependency_order([RenderJob(due) for due in due_now(persona)])
    assert [[job.due.shot for job in wave] for wave in found] == [["a", "d"], ["b"], ["c"]]


@given(st.permutations(range(6)))
def test_every_job_is_in_one_wave_after_the_one_it_starts_from(order: Sequence[int]) -> None:
    jobs = [
        RenderJob(
            DueShot("pip", f"s{n}", NOON, f"pip/s{n}/x", 1, 1, entry("daily"), init_key=f"pip/s{n // 2}/x" if n else "")
        )
        for n in order
    ]
    found = dependency_order(jobs)
    place = {job.due.key: number for number, wave in enumerate(found) for job in wave}
    assert sorted(place) == sorted(job.due.key for job in jobs)
    assert all(place[job.due.init_key] < place[job.due.key] for job in jobs if job.due.init_key)


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("a portrait of <pip> in the snow", "a portrait of a fox in the snow"),
        ("(<pip>:1.2) BREAK [in] the (snow)", "a fox in the snow"),
        ("", ""),
    ],
)
def test_a_prompt_in_ordinary_words(tmp_path: Path, prompt: str, said: str) -> None:
    assert plain_prompt(prompt, pip(tmp_path)) == said


def test_who_writes_no_alt_text_gets_one_from_the_prompt(tmp_path: Path) -> None:
    persona = pip(tmp_path, {"prompt": "a photo of ({{ token }}:1.3) in the snow, 50mm,"})
    [due] = due_now(persona)
    assert alt_text_for(RenderJob(due), persona) == "An AI-made picture of a fox in the snow, 50mm."
    assert len(default_alt_text(ShotTexts("snow " * 500), persona)) < 1000


def test_whose_account_it_goes_to(tmp_path: Path) -> None:
    own, none = due_now(pip(tmp_path, {"id": "a", "account": "own"}, {"id": "b"}))
    persona = pip(tmp_path)
    assert post_content(RenderJob(own), persona, loaded(tmp_path, account="house")).account == "own"
    assert post_content(RenderJob(none), persona, loaded(tmp_path, account="house")).account == "house"
    assert post_content(RenderJob(none), persona, loaded(tmp_path)).account == "pip"


def test_a_story_is_a_story(tmp_path: Path) -> None:
    story, other = due_now(pip(tmp_path, {"size": "story"}, {"size": "landscape"}))
    assert post_content(RenderJob(story), pip(tmp_path), loaded(tmp_path)).kind == "story"
    assert post_content(RenderJob(other), pip(tmp_path), loaded(tmp_path)).kind == "photo"


@given(st.text(max_size=80), st.text(st.characters(categories=["L", "Zs"]), max_size=30))
def test_words_of_disclosure_are_there_once(caption: str, words: str) -> None:
    once = add_disclosure(caption, words)
    assert add_disclosure(once, words) == once
    assert " ".join(words.split()).casefold() in " ".join(once.split()).casefold()


def test_a_caption_that_is_too_long_with_them_is_refused(tmp_path: Path) -> None:
    persona = pip(tmp_path, {"id": "walk", "caption": "x" * 2199})
    [due] = due_now(persona)
    with pytest.raises(UserError, match=r"shot 'walk': caption: has 22\d\d characters"):
        post_content(RenderJob(due), persona, loaded(tmp_path, disclosure="Made with AI."))
