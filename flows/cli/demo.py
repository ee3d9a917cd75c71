"""The demonstration: all steps offline, from a fixed seed to posts on disk, with the model that ships with restage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from flows.cli import demo_guard
from flows.cli.demo_guard import ACTOR, PERSONA
from flows.publish import publish_due
from flows.references import make_references
from flows.render import RenderFlowResult as Rendering
from flows.render import find_due, render_posts
from flows.train import train_persona
from models.system.errors import UserError
from tasks.persona import persona as personas
from tasks.pictures import replay
from tasks.posts import post_store, review
from tasks.posts.post import Post
from tasks.publish import attempts
from tasks.publishers import DRY_RUN_PUBLISHER
from tasks.publishers.folder import POSTS_FOLDER
from tasks.references.report import count_drop_reasons
from tasks.render.due_posts import DateSpan
from tasks.settings.settings import LoadedSettings
from tasks.store.store import Store
from tasks.story import page as report_story
from tasks.story.page import PostStory, Story
from tasks.training.report import summary_lines

DAYS = 7
PAGE = "demo.html"


def run_demo(loaded: LoadedSettings) -> Iterator[str]:
    """Choose references, learn a word from them, render seven days of the calendar, approve them and publish to folders."""
    demo_guard.check_studio(loaded)
    loaded = loaded.with_publisher(DRY_RUN_PUBLISHER)
    yield f"{PERSONA}: candidates from a fixed seed and prompt, filtered by likeness"
    reference_result = make_references(PERSONA, loaded)
    choice = reference_result.reference_set.choice
    yield f"  {len(choice.order)} of {len(choice.verdicts)} chosen; dropped: {count_drop_reasons(choice)}"
    yield f"  {_replay_picture(loaded.studio / choice.chosen[0].candidate.path, loaded)}"
    yield f"{PERSONA}: the model learns the word from these references, and stops by itself"
    training_result = train_persona(PERSONA, loaded)
    yield from (f"  {line}" for line in summary_lines(training_result.training))
    yield f"{PERSONA}: the next {DAYS} days of its calendar"
    rendered = _render_week(loaded)
    yield f"  {len(rendered.render_posts.posts)} posts from {_count_candidates(rendered)} candidates"
    yield from (f"  {problem}" for problem in rendered.render_posts.failures)
    yield f"{PERSONA}: approved by the demonstration itself (otherwise a person does it) and published to folders"
    approve_and_publish(rendered, loaded)
    stories = [_post_story(rendered_post.post.id, loaded) for rendered_post in rendered.render_posts.posts]
    yield from (f"  {_relative_path(story.folder)}" for story in stories if story.folder)
    pages = {"references": reference_result.page, "training": training_result.page}
    if rendered.page:
        pages["render"] = rendered.page
    story = Story(
        personas.find_persona(PERSONA, loaded.folder),
        reference_result.reference_set,
        training_result.training,
        stories,
        rendered.render_posts.failures,
        pages,
    )
    page = report_story.write_page(story, loaded.studio / PAGE, loaded.studio)
    yield f"The whole story with pictures: {_relative_path(page)}"


def _replay_picture(picture: Path, loaded: LoadedSettings) -> str:
    """Make the same picture again from the description in its file."""
    again = replay.replay_picture(picture, loaded)
    if not again.identical_pixels:
        raise UserError(f"{picture}: {again}")
    return f"replay of the first: {again}"


def _render_week(loaded: LoadedSettings) -> Rendering:
    """Render the next days. Note their posts first, so that a killed run leaves none that look like somebody else's."""
    now, span = loaded.clock(), DateSpan(days=DAYS)
    ahead = find_due(personas.find_persona(PERSONA, loaded.folder), loaded, span, now, again=False)
    demo_guard.note_posts([job.due.key for job in ahead.jobs], loaded)
    return render_posts(PERSONA, loaded, span, now=now)


def approve_and_publish(rendered: Rendering, loaded: LoadedSettings) -> None:
    """Approve the posts that wait, and publish them before their time."""
    waiting = [
        rendered_post.post
        for rendered_post in rendered.render_posts.posts
        if rendered_post.post.state == "awaiting review"
    ]
    with closing(Store.open(loaded.database, loaded.studio, clock=loaded.clock)) as store:
        review.approve_all(store, waiting, ACTOR)
        posts = [post_store.get_post(store, rendered_post.post.id) for rendered_post in rendered.render_posts.posts]
    for post in _only_approved(posts):
        publish_due(loaded, post=post.id, at_once=True)


def _only_approved(posts: Sequence[Post]) -> list[Post]:
    return [post for post in posts if post.state == "approved"]


def _post_story(post: str, loaded: LoadedSettings) -> PostStory:
    """Return the post as it is now, with its candidates and its folder."""
    with closing(Store.open(loaded.database, loaded.studio, clock=loaded.clock)) as store:
        receipts = [attempt.receipt for attempt in attempts.attempts(store, post) if attempt.receipt]
        folders = [
            loaded.studio / POSTS_FOLDER / receipt.media_id
            for receipt in receipts
            if receipt.publisher == DRY_RUN_PUBLISHER
        ]
        return PostStory(
            post_store.get_post(store, post), post_store.candidates(store, post), folders[-1] if folders else None
        )


def _count_candidates(rendered: Rendering) -> int:
    return sum(len(rendered_post.candidates) for rendered_post in rendered.render_posts.posts)


def _relative_path(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
