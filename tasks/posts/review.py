"""What a person does with a post: approve, reject, edit, take another picture, have it made again, take the last step back.

The board and the commands both do it through here. Every function takes the post as somebody looked at it, and refuses
where it is another one by now: nobody decides on what they have not seen.
"""

from __future__ import annotations

import getpass
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, get_args
from zoneinfo import ZoneInfo

from models.system.errors import UserError
from tasks.calendar.due import Words
from tasks.calendar.recurrence import settled
from tasks.calendar.wording import check, hashtags
from tasks.persona.calendar_section import Size
from tasks.posts import post_store
from tasks.posts.jpeg import ready
from tasks.posts.post import Candidate, ChangedError, Content, Event, Post, Shown
from tasks.posts.states import OPEN, State
from tasks.publishers.base import ALBUM
from tasks.settings.mistakes import ACCOUNT, UNSEEN
from tasks.settings.settings import Loaded
from tasks.store.picture_files import Artifacts
from tasks.store.store import Store

EDITABLE: tuple[State, ...] = (*OPEN, "rejected", "failed")
"""Where surely nothing went out, so that other content can do no harm. What may be out already is settled first."""
LONGEST_WHY = 1000
UNDONE = "taken back: "


@dataclass(frozen=True)
class Changes:
    """What to say otherwise; None leaves a thing as it is."""

    caption: str | None = None
    hashtags: Sequence[str] | None = None
    """With or without the #."""
    alts: Sequence[str] | None = None
    """One for each picture."""
    when: datetime | None = None
    """On the clock of the post's own time zone; without a zone, or in any."""
    account: str | None = None


def user() -> str:
    """Who sits at this machine, for the history."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container may run under a number that has no name
        return "somebody"


def looked_at(store: Store, post: str, revision: int, content_hash: str) -> Post:
    """The post, if it is still what was looked at."""
    there = post_store.get(store, post)
    if (there.revision, there.content.hash) != (revision, content_hash):
        raise ChangedError(f"post {there.id} has been changed meanwhile: look at it again")
    return there


def approve(store: Store, post: Post, by: str) -> Post:
    """Let exactly this go out; what failed, once more."""
    if post.state == "failed":
        post = reopen(store, post, by)
    if post.state != "awaiting review":
        raise UserError(f"post {post.id} is {post.state}, so there is nothing to approve: see restage review {post.id}")
    return post_store.approve(store, post, by, "approved")


def approve_all(store: Store, wanted: Sequence[Post], by: str) -> tuple[list[Post], list[str]]:
    """Those that could be approved, and a sentence about each that could not."""
    done, problems = [], []
    for post in wanted:
        try:
            done.append(approve(store, post, by))
        except UserError as error:
            problems.append(str(error))
    return done, problems


def reject(store: Store, post: Post, by: str, why: str = "") -> Post:
    _can_be_changed(post)
    return post_store.change(store, post, "rejected", by, _said(why) or "rejected", problem=post.problem)


def regenerate(store: Store, post: Post, by: str, why: str = "") -> Post:
    """Ask for new pictures: the next render makes them, from new seeds, and the post awaits review again."""
    _can_be_changed(post)
    said = _said(why) or "new pictures are wanted"
    with store.writing() as connection:
        if post.state in ("approved", "failed"):  # on the way an approval loses its hold
            post = post_store.move(
                connection, post, "awaiting review", by, said, at=store.clock(), **_afresh(post, post.state)
            )
        return post_store.move(connection, post, "draft", by, said, at=store.clock(), problem="")


def reopen(store: Store, post: Post, by: str) -> Post:
    """Look once more at what surely did not go out, as it is: approved again, it is sent again."""
    if post.state != "failed":
        raise UserError(
            f"post {post.id} is {post.state}, and only one that failed is reviewed again: see restage review"
        )
    with store.writing() as connection:
        changes = _afresh(post, post.state) | {"problem": ""}
        return post_store.move(
            connection, post, "awaiting review", by, "to be reviewed again", at=store.clock(), **changes
        )


def edit(store: Store, post: Post, by: str, changes: Changes, loaded: Loaded) -> Post:
    """Say something else under the same pictures, at another time, or on another account."""
    _can_be_changed(post)
    old = post.content
    caption = old.caption if changes.caption is None else _clean(changes.caption.replace("\r\n", "\n")).strip()
    tags = old.hashtags if changes.hashtags is None else _tags(post, changes.hashtags)
    alts = [each.alt for each in old.pictures] if changes.alts is None else [_line(alt) for alt in changes.alts]
    if len(alts) != len(old.pictures):
        raise UserError(f"post {post.id} has {len(old.pictures)} pictures and {len(alts)} alt texts: give one for each")
    when = old.when if changes.when is None else _moment(changes.when, old.when)
    account = old.account if changes.account is None else _account(changes.account)
    wanted = replace(old, caption=caption, hashtags=tags, when=when, account=account)
    _check(post, wanted, alts)
    shown = tuple(_called(each, alt, post, loaded) for each, alt in zip(old.pictures, alts, strict=True))
    said = [name for name in ("caption", "hashtags", "account") if getattr(wanted, name) != getattr(old, name)]
    said += ["alt text"] if shown != old.pictures else []
    said += [f"time, now {wanted.when:%Y-%m-%d %H:%M}"] if wanted.when != old.when else []
    return post_store.edit(store, post, replace(wanted, pictures=shown), by, f"changed: {', '.join(said)}")


def swap(store: Store, post: Post, by: str, number: int, loaded: Loaded, place: int = 0) -> Post:
    """Show a candidate, a dropped one too, in place of the picture that stands there."""
    _can_be_changed(post)
    chosen = _candidate(store, post, number)
    pictures = list(post.content.pictures)
    if pictures and not 0 <= place < len(pictures):
        raise UserError(f"post {post.id} has {len(pictures)} pictures and none at place {place + 1}: look at it again")
    alt = pictures[place].alt if pictures else _first_alt(store, post)
    pictures[place : place + 1] = [_made(post, chosen, alt, loaded)]
    return _with(store, post, pictures, by, f"picture {chosen.number} of the candidates instead")


def add(store: Store, post: Post, by: str, number: int, loaded: Loaded) -> Post:
    """Make it an album with a candidate as a further picture."""
    _can_be_changed(post)
    if post.content.kind == "story" or not post.content.pictures:
        what = "is a story, which has one picture" if post.content.kind == "story" else "has no picture yet"
        raise UserError(f"post {post.id} {what}: take the candidate in its place")
    if len(post.content.pictures) + 1 not in ALBUM:
        raise UserError(f"post {post.id} has {len(post.content.pictures)} pictures, and an album takes no more")
    chosen = _candidate(store, post, number)
    made = _made(post, chosen, post.content.pictures[0].alt, loaded)
    return _with(store, post, [*post.content.pictures, made], by, f"picture {chosen.number} of the candidates added")


def take_out(store: Store, post: Post, by: str, place: int) -> Post:
    """One picture less; the last one stays."""
    _can_be_changed(post)
    pictures = list(post.content.pictures)
    if not 0 <= place < len(pictures) or len(pictures) < 2:
        raise UserError(f"post {post.id} has no further picture at place {place + 1} to take out: swap it, or reject")
    del pictures[place]
    return _with(store, post, pictures, by, f"picture {place + 1} of the album taken out")


def undoable(post: Post, events: Sequence[Event]) -> str:
    """What `undo` would take back, in a word; nothing where it cannot."""
    last = events[-1] if events else None
    if last is None or last.state != post.state or not last.was:
        return ""
    if last.state == "approved" and last.was == "awaiting review":
        return "approval"
    if last.state == "rejected" and last.was in (*OPEN, "failed"):
        return "rejection"
    if last.state == "draft" and not post.problem and post.content.pictures:
        return "wish for new pictures"
    before = next((each.revision for each in reversed(events) if each.revision != post.revision), None)
    changed = last.revision == post.revision and before is not None and last.was in EDITABLE
    fresh = all(each.revision != post.revision for each in events[:-1])
    return "change" if changed and fresh and last.state == "awaiting review" and last.was != "draft" else ""


def undo(store: Store, post: Post, by: str) -> Post:
    """Take the last step back, where it was a person's and nothing went out since. It ends in review, never approved."""
    events = post_store.history(store, post.id)
    what = undoable(post, events)
    if not what:
        raise UserError(f"post {post.id} is {post.state}, and its last step cannot be taken back: approve or reject it")
    why = f"{UNDONE}the {what}"
    if what != "change":
        to: State = "awaiting review" if post.content.pictures else "draft"
        with store.writing() as connection:
            changes = _afresh(post, events[-1].was)
            return post_store.move(connection, post, to, by, why, at=store.clock(), problem=post.problem, **changes)
    before = next(each.revision for each in reversed(events) if each.revision != post.revision)
    kept = post_store.revisions(store, post.id).get(before)
    if kept is None:
        raise UserError(f"post {post.id} was changed before changes were kept, so edit it by hand")
    return post_store.edit(store, post, kept, by, why)


def _afresh(post: Post, was: str) -> dict[str, Any]:
    """After a failure it is another revision, so that its publication starts from the beginning."""
    return {"revision": post.revision + 1} if was == "failed" else {}


def _can_be_changed(post: Post) -> None:
    if post.state not in EDITABLE:
        why = {"published": "it is out", "unknown": "it may be out", "needs a person": "it may be out"}
        said = why.get(post.state, "it is on its way out")
        remedy = ": see restage review " + post.id
        raise UserError(f"post {post.id} is {post.state} and cannot be changed, since {said}{remedy}")


def _with(store: Store, post: Post, pictures: Sequence[Shown], by: str, why: str) -> Post:
    """The post with these pictures, which say by their number what it is."""
    kind = post.content.kind if post.content.kind == "story" else "album" if len(pictures) > 1 else "photo"
    return post_store.edit(store, post, replace(post.content, kind=kind, pictures=tuple(pictures)), by, why)


def _candidate(store: Store, post: Post, number: int) -> Candidate:
    found = next((each for each in post_store.candidates(store, post.id) if each.number == number), None)
    if found is None:
        raise UserError(f"post {post.id} has no candidate {number}: see restage review {post.id}")
    if any(each.picture == found.picture for each in post.content.pictures):
        raise UserError(f"post {post.id} shows candidate {number} already: choose another one")
    return found


def _made(post: Post, chosen: Candidate, alt: str, loaded: Loaded) -> Shown:
    master = Artifacts(loaded.studio).picture(chosen.picture)
    made = ready(master, _size(post), alt, loaded)
    return Shown(chosen.picture, made.file, made.sha256, alt, made.width, made.height)


def _called(shown: Shown, alt: str, post: Post, loaded: Loaded) -> Shown:
    """The same picture with another alt text, which is in its file too."""
    if shown.alt == alt:
        return shown
    made = ready(Artifacts(loaded.studio).picture(shown.picture), _size(post), alt, loaded)
    return replace(shown, alt=alt, file=made.file, sha256=made.sha256, width=made.width, height=made.height)


def _size(post: Post) -> Size:
    found: Size | None = next((each for each in get_args(Size) if each == post.size), None)
    assert found, f"post {post.id} has the size {post.size!r}"
    return found


def _first_alt(store: Store, post: Post) -> str:
    """What a draft's picture was called before, if it had one; otherwise it says the least there is to say."""
    earlier = [each.pictures[0].alt for each in post_store.revisions(store, post.id).values() if each.pictures]
    return earlier[-1] if earlier else f"An AI-made picture of {post.persona}."


def _check(post: Post, content: Content, alts: Sequence[str]) -> None:
    try:
        for alt in alts or ("",):
            check(Words(post.prompt or "…", caption=content.caption, alt=alt, hashtags=content.hashtags))
    except UserError as error:
        raise UserError(f"post {post.id}: {error}") from None


def _tags(post: Post, given: Sequence[str]) -> tuple[str, ...]:
    try:
        return hashtags([each.strip() for each in given])
    except UserError as error:
        raise UserError(f"post {post.id}: {error}") from None


def _account(name: str) -> str:
    if not ACCOUNT.fullmatch(name.strip()):
        raise UserError(f"account: {name[:60]!r} is no name of an account: use letters, digits, _, . and -")
    return name.strip()


def _moment(when: datetime, old: datetime) -> datetime:
    """In the time zone of the post; a time that its clocks skip moves to the next there is."""
    zone = old.tzinfo
    assert isinstance(zone, ZoneInfo), "posts keep the time zone of their calendar"
    if not 2000 <= when.year <= 2199:
        raise UserError(f"when: {when:%Y-%m-%d} is out of range: use a day from 2000 to 2199")
    return when.astimezone(zone) if when.tzinfo else settled(when, zone)


def _said(why: str) -> str:
    """One line, whatever was pasted."""
    return _line(why)[:LONGEST_WHY]


def _line(text: str) -> str:
    return " ".join(_clean(text).split())


def _clean(text: str) -> str:
    return UNSEEN.sub(" ", text)
