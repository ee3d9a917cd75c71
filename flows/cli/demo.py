"""The demonstration: the whole way offline, from a fixed seed to posts on disk, with the model that ships with restage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from flows.cli import demo_guard
from flows.cli.demo_guard import BY, PERSONA
from flows.publish import publish
from flows.references import references
from flows.render import Outcome as Rendering
from flows.render import look, render
from flows.train import train
from models.system.errors import UserError
from tasks.persona import persona as personas
from tasks.pictures import replay
from tasks.posts import post_store, review
from tasks.posts.post import Post
from tasks.publish import attempts
from tasks.publishers.folder import FOLDER
from tasks.references.report import tally
from tasks.render.due_posts import Span
from tasks.settings.settings import Loaded
from tasks.store.store import Store
from tasks.story import page as report_story
from tasks.story.page import Story, Told
from tasks.training.report import lines

DAYS = 7
PAGE = "demo.html"


def demo(loaded: Loaded) -> Iterator[str]:
    """References with reasons, a word learned from them, seven days of the calendar, approved and published to folders."""
    demo_guard.check(loaded)
    loaded = loaded.with_publisher("folder")
    yield f"{PERSONA}: candidates from a fixed seed and prompt, filtered by likeness"
    chosen = references(PERSONA, loaded)
    choice = chosen.made.choice
    yield f"  {len(choice.order)} of {len(choice.verdicts)} chosen; dropped: {tally(choice)}"
    yield f"  {_again(loaded.studio / choice.chosen[0].candidate.path, loaded)}"
    yield f"{PERSONA}: the model learns the word from these references, and stops by itself"
    learned = train(PERSONA, loaded)
    yield from (f"  {line}" for line in lines(learned.training))
    yield f"{PERSONA}: the next {DAYS} days of its calendar"
    rendered = _week(loaded)
    yield f"  {len(rendered.render.posts)} posts from {_count(rendered)} candidates"
    yield from (f"  {problem}" for problem in rendered.render.failures)
    yield f"{PERSONA}: approved by the demonstration itself (otherwise a person does it) and published to folders"
    approve(rendered, loaded)
    told = [_told(each.post.id, loaded) for each in rendered.render.posts]
    yield from (f"  {_near(each.folder)}" for each in told if each.folder)
    pages = {"references": chosen.page, "training": learned.page}
    if rendered.page:
        pages["render"] = rendered.page
    story = Story(
        personas.find(PERSONA, loaded.folder), chosen.made, learned.training, told, rendered.render.failures, pages
    )
    page = report_story.report(story, loaded.studio / PAGE, loaded.studio)
    yield f"The whole story with pictures: {_near(page)}"


def _again(picture: Path, loaded: Loaded) -> str:
    """The same picture once more, from what stands in its file."""
    again = replay.replay(picture, loaded)
    if not again.identical_pixels:
        raise UserError(f"{picture}: {again}")
    return f"replay of the first: {again}"


def _week(loaded: Loaded) -> Rendering:
    """What is about to be made is noted first, so that a run that is killed leaves nothing that looks like somebody else's."""
    now, span = loaded.clock(), Span(days=DAYS)
    ahead = look(personas.find(PERSONA, loaded.folder), loaded, span, now, again=False)
    demo_guard.note([job.due.key for job in ahead.jobs], loaded)
    return render(PERSONA, loaded, span, now=now)


def approve(rendered: Rendering, loaded: Loaded) -> None:
    """Approve what waits, and send it before its time."""
    waiting = [each.post for each in rendered.render.posts if each.post.state == "awaiting review"]
    with closing(Store.open(loaded.database, loaded.studio, clock=loaded.clock)) as store:
        review.approve_all(store, waiting, BY)
        ready = [post_store.get(store, each.post.id) for each in rendered.render.posts]
    for post in _approved(ready):
        publish(loaded, post=post.id, at_once=True)


def _approved(found: Sequence[Post]) -> list[Post]:
    return [post for post in found if post.state == "approved"]


def _told(post: str, loaded: Loaded) -> Told:
    """The post as it is now, and where it lies."""
    with closing(Store.open(loaded.database, loaded.studio, clock=loaded.clock)) as store:
        receipts = [each.receipt for each in attempts.attempts(store, post) if each.receipt]
        folders = [loaded.studio / FOLDER / each.media_id for each in receipts if each.publisher == "folder"]
        return Told(post_store.get(store, post), post_store.candidates(store, post), folders[-1] if folders else None)


def _count(rendered: Rendering) -> int:
    return sum(len(each.candidates) for each in rendered.render.posts)


def _near(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
