"""Find what to render, and turn candidates into a post that awaits review. The pictures are rendered in `candidates`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta

from models.system.errors import UserError
from tasks.calendar.due import DuePlan, DueShot, ShotTexts, local_midnight, shot_message
from tasks.calendar.wording import check_instagram_limits, plan_ahead, plan_due
from tasks.clock import is_from_a_wrong_clock
from tasks.persona.calendar_section import day_of
from tasks.persona.persona import Persona
from tasks.posts import post_store
from tasks.posts.jpeg import PublishedJpeg
from tasks.posts.post import Post, PostCandidate, PostContent, PostPicture
from tasks.posts.states import PICTURE_IN_USE
from tasks.render.gates import (
    CandidateMeasurements,
    ExistingPicture,
    acceptance_summary,
    best_first,
    count_reasons,
    duplicate_reason,
    median_distance,
    rejection_reason,
)
from tasks.render.results import RenderedPost, RenderJob, plain_prompt
from tasks.settings.sections import GateSettings
from tasks.settings.settings import LoadedSettings
from tasks.store.store import Store

BY = "restage"
MAX_LOOK_BACK = timedelta(days=14)
"""What failed within this time is still due, even if other posts were rendered after it."""
MAX_COMPARED = 100
"""Newest posts of a persona whose CLIP vectors a new picture is compared with; hashes are compared with all posts."""
_DAY = re.compile(r"/(\d{4}-\d\d-\d\d)[^/]*$")
_PICTURE = re.compile(r"^an? (picture|photo|photograph|image) of ", re.IGNORECASE)
_MOMENT = timedelta(microseconds=1)


@dataclass(frozen=True)
class DateSpan:
    """The days to render. Empty texts: everything due until now that was not rendered."""

    since: str = ""
    """The first day, such as 2026-12-24."""
    until: str = ""
    """The last day."""
    days: int = 0
    """Number of days from the first one, or from today."""


@dataclass
class RenderPlan:
    """The work of a run, and the posts that exist already."""

    jobs: list[RenderJob] = field(default_factory=list)
    there: list[RenderedPost] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def plan_render(persona: Persona, store: Store, span: DateSpan, now: datetime, again: bool = False) -> RenderPlan:
    """Find the occurrences of the span without a post, and the drafts without a picture; with `again` also failed drafts."""
    published = {
        shot: at.astimezone(persona.calendar.zone).date()
        for shot, at in post_store.last_published(store, persona.name).items()
    }
    due_plan = _plan_calendar(persona, store, span, now, published)
    render_plan = RenderPlan(problems=[str(problem) for problem in due_plan.problems], notes=list(due_plan.notes))
    for post in post_store.find(store, ["draft"], persona=persona.name):
        if again or not post.problem:
            try:
                due = replace(_due_of_draft(post, persona, published), when=post.content.when)
                render_plan.jobs.append(RenderJob(due, post, tuple(post_store.candidates(store, post.id))))
            except UserError as error:
                render_plan.problems.append(str(error))
    waiting = {job.due.key for job in render_plan.jobs}
    for due in due_plan.due:
        existing = post_store.find_by_key(store, due.key)
        if existing is None:
            render_plan.jobs.append(RenderJob(due))
        elif due.key not in waiting:
            render_plan.there.append(RenderedPost(existing, post_store.candidates(store, existing.id), fresh=False))
    render_plan.problems = list(dict.fromkeys(render_plan.problems))
    return render_plan


def _plan_calendar(
    persona: Persona, store: Store, span: DateSpan, now: datetime, published: dict[str, date]
) -> DuePlan:
    """List what is due. With an end date: everything until then. Without: what each shot's catch_up rule still allows."""
    today = now.astimezone(persona.calendar.zone).date()
    since, until = _parse_day("--since", span.since), _parse_day("--until", span.until)
    if until is None and span.days:
        until = (since or today) + timedelta(days=span.days - 1)
    if until is not None:
        start, end = since or today, until + timedelta(days=1)
        if end <= start:
            raise UserError(f"--until {until} is before {start}: name a later day, or an earlier --since")
        first, last = (local_midnight(persona, day).astimezone(UTC) - _MOMENT for day in (start, end))
        return plan_ahead(persona, first, last, published)
    if since is not None:
        start = min(local_midnight(persona, since).astimezone(UTC) - _MOMENT, now)
    else:
        start = _render_since(persona, store, now)
    return plan_due(persona, start, now, published)


def _render_since(persona: Persona, store: Store, now: datetime) -> datetime:
    """Return the time since when something may be due: from the persona's first render on, at least two weeks back."""
    posts = post_store.find(store, persona=persona.name)
    stamps = [datetime.fromisoformat(post.created_at) for post in posts]
    times = [stamp for stamp in stamps if not is_from_a_wrong_clock(stamp, now)]
    start = max(min(times), min(max(times), now - MAX_LOOK_BACK)) if times else now
    return min(local_midnight(persona, start.astimezone(persona.calendar.zone).date()).astimezone(UTC) - _MOMENT, now)


def _parse_day(option: str, text: str) -> date | None:
    if not text:
        return None
    day = day_of(text)
    if day is None:
        raise UserError(f"{option} {text[:40]!r} is no date: write it as 2026-12-24")
    return day


def _due_of_draft(post: Post, persona: Persona, published: dict[str, date]) -> DueShot:
    """Find the occurrence of a draft in today's calendar."""
    day = _DAY.search(post.key)
    message = f"post {post.id} is for {post.key}, which is not in the calendar any more: put the shot back, or reject the post"
    if not day:
        raise UserError(message)
    midnight = local_midnight(persona, date.fromisoformat(day[1])).astimezone(UTC)
    due_plan = plan_ahead(persona, midnight - timedelta(days=1), midnight + timedelta(days=2), published)
    due = next((occurrence for occurrence in due_plan.due if occurrence.key == post.key), None)
    if due is None:
        wrong = (str(problem) for problem in due_plan.problems if problem.shot == post.shot)
        raise UserError(next(wrong, message))
    return due


def dependency_order(jobs: Sequence[RenderJob]) -> list[list[RenderJob]]:
    """Group the jobs by dependency: a job that starts from another job's picture comes in a later group."""
    keys = {job.due.key: job for job in jobs}
    depths: dict[str, int] = {}
    for job in jobs:
        depth, step = 0, job
        while step.due.init_key in keys and depth < len(jobs):  # bounded, although the plan allows no circle
            step, depth = keys[step.due.init_key], depth + 1
        depths[job.due.key] = depth
    return [[job for job in jobs if depths[job.due.key] == depth] for depth in sorted(set(depths.values()))]


def judge_candidate(
    number: int, picture: str, measured: CandidateMeasurements, persona: Persona, settings: GateSettings
) -> PostCandidate:
    """Judge one candidate by the gates, without comparing it with other posts."""
    rejection = rejection_reason(measured, settings, persona.token, persona.class_word)
    verdict = rejection or acceptance_summary(measured, persona.token)
    return PostCandidate(number, picture, not rejection, verdict, measured.scores(), f"{measured.likeness:016x}")


def reject_duplicates(
    candidates: Sequence[PostCandidate],
    measured: dict[str, CandidateMeasurements],
    existing: Sequence[ExistingPicture],
    settings: GateSettings,
) -> list[PostCandidate]:
    """Compare the candidates that passed with the pictures in use, and reject duplicates."""
    usual = median_distance(list(measured.values()))
    checked = []
    for candidate in candidates:
        duplicate = duplicate_reason(measured[candidate.picture], existing, usual, settings) if candidate.passed else ""
        checked.append(replace(candidate, passed=False, reason=duplicate) if duplicate else candidate)
    return checked


def best_candidate(candidates: Sequence[PostCandidate]) -> PostCandidate | None:
    return next(iter(best_first(candidates)), None)


def used_hashes(store: Store) -> list[ExistingPicture]:
    """List the perceptual hashes of all pictures that are published or waiting."""
    return [
        ExistingPicture(post.id, int(likeness, 16))
        for post, likeness in post_store.likenesses(store, PICTURE_IN_USE)
        if likeness
    ]


def recent_pictures(store: Store, persona: Persona) -> list[tuple[str, str]]:
    """List the pictures of a persona's newest posts that are published or waiting, with the post's id."""
    posts = post_store.find(store, PICTURE_IN_USE, persona=persona.name, newest_first=True, limit=MAX_COMPARED)
    return [(post.id, picture.picture) for post in posts for picture in post.content.pictures]


def describe_problem(candidates: Sequence[PostCandidate]) -> str:
    """Describe why a shot has no picture."""
    return f"none of {len(candidates)} candidates passed the gates ({count_reasons(candidates)})"


def post_content(job: RenderJob, persona: Persona, loaded: LoadedSettings) -> PostContent:
    """Build a post's content without its picture. What a person wrote into a draft stays."""
    due, settings = job.due, loaded.settings.publishing
    if job.post:
        return replace(job.post.content, pictures=(), kind="story" if due.entry.size == "story" else "photo")
    caption = add_disclosure(due.words.caption, settings.disclosure)
    try:
        check_instagram_limits(replace(due.words, caption=caption))
    except UserError as error:
        raise UserError(shot_message(persona, due.shot, error)) from None
    return PostContent(
        kind="story" if due.entry.size == "story" else "photo",
        pictures=(),
        caption=caption,
        hashtags=due.words.hashtags,
        account=due.entry.account or settings.account or persona.name,
        when=due.when,
        ai_label=settings.ai_label,
    )


def add_disclosure(caption: str, words: str) -> str:
    """Add the disclosure words as the caption's last line, unless the caption contains them."""
    text = " ".join(caption.split()).casefold()
    return caption if " ".join(words.split()).casefold() in text else f"{caption}\n\n{words}".strip()


def alt_text_for(job: RenderJob, persona: Persona) -> str:
    """Return the alt text of a job's picture."""
    earlier = job.post.content.pictures if job.post else ()
    return earlier[0].alt if earlier else job.due.words.alt or default_alt_text(job.due.words, persona)


def default_alt_text(words: ShotTexts, persona: Persona) -> str:
    """Build an alt text from the prompt, for a shot without one."""
    plain = _PICTURE.sub("", plain_prompt(words.prompt, persona).strip(" ,."))
    return f"An AI-made picture of {plain[:900]}."


def post_picture(jpeg: PublishedJpeg, picture: str, alt: str) -> PostPicture:
    return PostPicture(picture, jpeg.file, jpeg.sha256, alt, jpeg.width, jpeg.height)


def store_post(
    store: Store,
    job: RenderJob,
    content: PostContent,
    candidates: Sequence[PostCandidate],
    chosen: PostCandidate | None,
    embedding: str,
) -> RenderedPost:
    """Store the post with its candidates: awaiting review, or a draft that says why it has no picture."""
    due, prompt = job.due, job.due.words.prompt
    problem = "" if chosen else describe_problem(candidates)
    reason = f"rendered, candidate {chosen.number} {chosen.reason}" if chosen else problem
    if job.post:
        post = post_store.add_render(
            store, job.post, content, candidates, BY, reason, prompt=prompt, embedding=embedding, problem=problem
        )
    else:
        post = post_store.create_post(
            store,
            due.key,
            due.persona,
            due.shot,
            due.entry.size,
            content,
            candidates,
            BY,
            reason,
            prompt=prompt,
            embedding=embedding,
            problem=problem,
        )
    return RenderedPost(post, post_store.candidates(store, post.id), fresh=True)
