"""What is to be rendered, and how candidates become a post that awaits review. The pictures themselves are made elsewhere."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta

from models.system.errors import UserError
from tasks.calendar.due import Due, Plan, Words, local_midnight, sentence
from tasks.calendar.wording import check, plan, plan_ahead
from tasks.clock import is_from_a_wrong_clock
from tasks.persona.calendar_section import day_of
from tasks.persona.persona import Persona
from tasks.posts import post_store
from tasks.posts.jpeg import Ready
from tasks.posts.post import Candidate, Content, Post, Shown
from tasks.posts.states import TAKEN
from tasks.render.gates import Measured, Taken, best_first, praise, reason, repeats, tally, usual_distance
from tasks.render.results import Job, Rendered, in_words
from tasks.settings.sections import Gates
from tasks.settings.settings import Loaded
from tasks.store.store import Store

BY = "restage"
LOOK_BACK = timedelta(days=14)
"""What failed since then is due still, though other posts were rendered after it."""
MOST_COMPARED = 100
"""Posts of a persona that a new picture is compared with in CLIP's eyes, the newest; by their hashes with all there are."""
_DAY = re.compile(r"/(\d{4}-\d\d-\d\d)[^/]*$")
_PICTURE = re.compile(r"^an? (picture|photo|photograph|image) of ", re.IGNORECASE)
_MOMENT = timedelta(microseconds=1)


@dataclass(frozen=True)
class Span:
    """Which days to render. Empty texts: whatever is due until now and was not rendered."""

    since: str = ""
    """The first day, such as 2026-12-24."""
    until: str = ""
    """The last day."""
    days: int = 0
    """How many days from the first one, or from today."""


@dataclass
class Scope:
    """What a run has to do, and what is there already."""

    jobs: list[Job] = field(default_factory=list)
    there: list[Rendered] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def scope(persona: Persona, store: Store, span: Span, now: datetime, again: bool = False) -> Scope:
    """The occurrences of the span without a post, and the drafts that wait for a picture; with `again` failed ones too."""
    published = {
        shot: at.astimezone(persona.calendar.zone).date()
        for shot, at in post_store.last_published(store, persona.name).items()
    }
    found = _plan(persona, store, span, now, published)
    made = Scope(problems=[str(each) for each in found.problems], notes=list(found.notes))
    for post in post_store.find(store, ["draft"], persona=persona.name):
        if again or not post.problem:
            try:
                due = replace(_again(post, persona, published), when=post.content.when)
                made.jobs.append(Job(due, post, tuple(post_store.candidates(store, post.id))))
            except UserError as error:
                made.problems.append(str(error))
    waiting = {job.due.key for job in made.jobs}
    for due in found.due:
        known = post_store.by_key(store, due.key)
        if known is None:
            made.jobs.append(Job(due))
        elif due.key not in waiting:
            made.there.append(Rendered(known, post_store.candidates(store, known.id), fresh=False))
    made.problems = list(dict.fromkeys(made.problems))
    return made


def _plan(persona: Persona, store: Store, span: Span, now: datetime, published: dict[str, date]) -> Plan:
    """Whoever names an end gets all until there; otherwise each shot's way of catching up says what still counts."""
    today = now.astimezone(persona.calendar.zone).date()
    since, until = _day("--since", span.since), _day("--until", span.until)
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
        start = _last(persona, store, now)
    return plan(persona, start, now, published)


def _last(persona: Persona, store: Store, now: datetime) -> datetime:
    """Since when something may be due that was not rendered: from the persona's first render on, at least two weeks back."""
    known = post_store.find(store, persona=persona.name)
    stamps = [datetime.fromisoformat(post.created_at) for post in known]
    made = [stamp for stamp in stamps if not is_from_a_wrong_clock(stamp, now)]
    start = max(min(made), min(max(made), now - LOOK_BACK)) if made else now
    return min(local_midnight(persona, start.astimezone(persona.calendar.zone).date()).astimezone(UTC) - _MOMENT, now)


def _day(option: str, text: str) -> date | None:
    if not text:
        return None
    day = day_of(text)
    if day is None:
        raise UserError(f"{option} {text[:40]!r} is no date: write it as 2026-12-24")
    return day


def _again(post: Post, persona: Persona, published: dict[str, date]) -> Due:
    """The occurrence of a draft, as the calendar has it today."""
    day = _DAY.search(post.key)
    gone = f"post {post.id} is for {post.key}, which is not in the calendar any more: put the shot back, or reject the post"
    if not day:
        raise UserError(gone)
    midnight = local_midnight(persona, date.fromisoformat(day[1])).astimezone(UTC)
    found = plan_ahead(persona, midnight - timedelta(days=1), midnight + timedelta(days=2), published)
    due = next((each for each in found.due if each.key == post.key), None)
    if due is None:
        wrong = (str(each) for each in found.problems if each.shot == post.shot)
        raise UserError(next(wrong, gone))
    return due


def waves(jobs: Sequence[Job]) -> list[list[Job]]:
    """The jobs in the order in which they can be made: whoever starts from another's picture comes in a later wave."""
    keys = {job.due.key: job for job in jobs}
    depths: dict[str, int] = {}
    for job in jobs:
        depth, step = 0, job
        while step.due.init_key in keys and depth < len(jobs):  # bounded, though the plan lets no circle through
            step, depth = keys[step.due.init_key], depth + 1
        depths[job.due.key] = depth
    return [[job for job in jobs if depths[job.due.key] == depth] for depth in sorted(set(depths.values()))]


def judged(number: int, picture: str, measured: Measured, persona: Persona, knobs: Gates) -> Candidate:
    """A candidate and what the gates say of it, other posts left aside."""
    why = reason(measured, knobs, persona.token, persona.class_word)
    said = why or praise(measured, persona.token)
    return Candidate(number, picture, not why, said, measured.scores(), f"{measured.likeness:016x}")


def compared(
    candidates: Sequence[Candidate], measured: dict[str, Measured], taken: Sequence[Taken], knobs: Gates
) -> list[Candidate]:
    """Those that passed are held against what goes out already."""
    usual = usual_distance(list(measured.values()))
    found = []
    for each in candidates:
        why = repeats(measured[each.picture], taken, usual, knobs) if each.passed else ""
        found.append(replace(each, passed=False, reason=why) if why else each)
    return found


def best(candidates: Sequence[Candidate]) -> Candidate | None:
    return next(iter(best_first(candidates)), None)


def hashes(store: Store) -> list[Taken]:
    """The perceptual hashes of all pictures that go out already, or wait to."""
    return [Taken(post.id, int(likeness, 16)) for post, likeness in post_store.likenesses(store, TAKEN) if likeness]


def newest(store: Store, persona: Persona) -> list[tuple[str, str]]:
    """The newest such posts of a persona, with their pictures."""
    found = post_store.find(store, TAKEN, persona=persona.name, newest_first=True, limit=MOST_COMPARED)
    return [(post.id, each.picture) for post in found for each in post.content.pictures]


def problem_of(candidates: Sequence[Candidate]) -> str:
    """Why a shot has no picture."""
    return f"none of {len(candidates)} candidates passed the gates ({tally(candidates)})"


def content(job: Job, persona: Persona, loaded: Loaded) -> Content:
    """All but the picture. What a person wrote into a draft stays."""
    due, knobs = job.due, loaded.settings.publishing
    if job.post:
        return replace(job.post.content, pictures=(), kind="story" if due.entry.size == "story" else "photo")
    caption = disclosed(due.words.caption, knobs.disclosure)
    try:
        check(replace(due.words, caption=caption))
    except UserError as error:
        raise UserError(sentence(persona, due.shot, error)) from None
    return Content(
        kind="story" if due.entry.size == "story" else "photo",
        pictures=(),
        caption=caption,
        hashtags=due.words.hashtags,
        account=due.entry.account or knobs.account or persona.name,
        when=due.when,
        ai_label=knobs.ai_label,
    )


def disclosed(caption: str, words: str) -> str:
    """The caption with the words that say who made the picture, as its last line where it does not say them."""
    said = " ".join(caption.split()).casefold()
    return caption if " ".join(words.split()).casefold() in said else f"{caption}\n\n{words}".strip()


def alt_of(job: Job, persona: Persona) -> str:
    """What the picture shows, for who cannot see it."""
    earlier = job.post.content.pictures if job.post else ()
    return earlier[0].alt if earlier else job.due.words.alt or told(job.due.words, persona)


def told(words: Words, persona: Persona) -> str:
    """An alt text for who wrote none."""
    plain = _PICTURE.sub("", in_words(words.prompt, persona).strip(" ,."))
    return f"An AI-made picture of {plain[:900]}."


def shown(made: Ready, picture: str, alt: str) -> Shown:
    return Shown(picture, made.file, made.sha256, alt, made.width, made.height)


def put(
    store: Store, job: Job, said: Content, candidates: Sequence[Candidate], chosen: Candidate | None, embedding: str
) -> Rendered:
    """The post with its candidates: awaiting review, or a draft that says why it has no picture."""
    due, prompt = job.due, job.due.words.prompt
    problem = "" if chosen else problem_of(candidates)
    why = f"rendered, candidate {chosen.number} {chosen.reason}" if chosen else problem
    if job.post:
        post = post_store.fill(
            store, job.post, said, candidates, BY, why, prompt=prompt, embedding=embedding, problem=problem
        )
    else:
        post = post_store.enqueue(
            store,
            due.key,
            due.persona,
            due.shot,
            due.entry.size,
            said,
            candidates,
            BY,
            why,
            prompt=prompt,
            embedding=embedding,
            problem=problem,
        )
    return Rendered(post, post_store.candidates(store, post.id), fresh=True)
