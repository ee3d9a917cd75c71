"""The actions of a person on a post: approve, reject, edit, replace its picture, ask for a new one, undo the last step.

The board and the commands both use these functions. Each takes the post as the person saw it, and refuses if it has
changed since: nobody decides on something they have not seen.
"""

from __future__ import annotations

import getpass
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, get_args
from zoneinfo import ZoneInfo

from models.system.errors import UserError
from tasks.calendar.due import ShotTexts
from tasks.calendar.recurrence import local_time
from tasks.calendar.wording import check_instagram_limits, clean_hashtags
from tasks.persona.calendar_section import Size
from tasks.posts import post_store
from tasks.posts.jpeg import make_jpeg
from tasks.posts.post import ChangedError, Post, PostCandidate, PostContent, PostEvent, PostPicture
from tasks.posts.states import OPEN, State
from tasks.publishers import place_rules
from tasks.settings.mistakes import ACCOUNT, CONTROL_CHARACTERS
from tasks.settings.settings import LoadedSettings
from tasks.store.picture_files import PictureFiles
from tasks.store.store import Store

EDITABLE: tuple[State, ...] = (*OPEN, "rejected", "failed")
"""States in which surely nothing was published, so the content may change."""
MAX_REASON_LENGTH = 1000
UNDONE = "taken back: "


@dataclass(frozen=True)
class Changes:
    """The fields to change; None leaves a field as it is."""

    caption: str | None = None
    hashtags: Sequence[str] | None = None
    """With or without the #."""
    alts: Sequence[str] | None = None
    """One text for each picture."""
    when: datetime | None = None
    """On the clock of the post's own time zone; without a zone, or in any."""
    account: str | None = None


def user() -> str:
    """Return the name of this machine's user, for the history."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container may run under a number that has no name
        return "somebody"


def looked_at(store: Store, post: str, revision: int, content_hash: str) -> Post:
    """Return the post; raise `ChangedError` if it is not what the person saw."""
    stored = post_store.get_post(store, post)
    if (stored.revision, stored.content.hash) != (revision, content_hash):
        raise ChangedError(f"post {stored.id} has been changed meanwhile: look at it again")
    return stored


def approve(store: Store, post: Post, by: str) -> Post:
    """Approve exactly this post; a failed one is reopened first."""
    if post.state == "failed":
        post = reopen(store, post, by)
    if post.state != "awaiting review":
        raise UserError(f"post {post.id} is {post.state}, so there is nothing to approve: see restage review {post.id}")
    return post_store.approve(store, post, by, "approved")


def approve_all(store: Store, posts: Sequence[Post], by: str) -> tuple[list[Post], list[str]]:
    """Approve posts; return those that were approved, and a sentence about each that could not be."""
    approved, problems = [], []
    for post in posts:
        try:
            approved.append(approve(store, post, by))
        except UserError as error:
            problems.append(str(error))
    return approved, problems


def reject(store: Store, post: Post, by: str, reason: str = "") -> Post:
    _require_editable(post)
    return post_store.change(store, post, "rejected", by, _clean_reason(reason) or "rejected", problem=post.problem)


def regenerate(store: Store, post: Post, by: str, reason: str = "") -> Post:
    """Ask for new pictures: the next render makes them from new seeds, and the post awaits review again."""
    _require_editable(post)
    reason = _clean_reason(reason) or "new pictures are wanted"
    with store.writing() as connection:
        if post.state in ("approved", "failed"):  # this also withdraws an approval
            post = post_store.change_state(
                connection, post, "awaiting review", by, reason, at=store.clock(), **_next_revision(post, post.state)
            )
        return post_store.change_state(connection, post, "draft", by, reason, at=store.clock(), problem="")


def reopen(store: Store, post: Post, by: str) -> Post:
    """Return a failed post to review unchanged: approved again, it is sent again."""
    if post.state != "failed":
        raise UserError(
            f"post {post.id} is {post.state}, and only one that failed is reviewed again: see restage review"
        )
    with store.writing() as connection:
        changes = _next_revision(post, post.state) | {"problem": ""}
        return post_store.change_state(
            connection, post, "awaiting review", by, "to be reviewed again", at=store.clock(), **changes
        )


def edit(store: Store, post: Post, by: str, changes: Changes, loaded: LoadedSettings) -> Post:
    """Change the texts, the time or the account of a post with the same pictures."""
    _require_editable(post)
    old = post.content
    caption = (
        old.caption if changes.caption is None else _remove_invisible(changes.caption.replace("\r\n", "\n")).strip()
    )
    tags = old.hashtags if changes.hashtags is None else _parse_hashtags(post, changes.hashtags)
    alts = (
        [picture.alt for picture in old.pictures]
        if changes.alts is None
        else [_single_line(alt) for alt in changes.alts]
    )
    if len(alts) != len(old.pictures):
        raise UserError(f"post {post.id} has {len(old.pictures)} pictures and {len(alts)} alt texts: give one for each")
    due_at = old.when if changes.when is None else _local_moment(changes.when, old.when)
    account = old.account if changes.account is None else _parse_account(changes.account)
    content = replace(old, caption=caption, hashtags=tags, when=due_at, account=account)
    _check_texts(post, content, alts)
    pictures = tuple(
        _with_alt_text(picture, alt, post, loaded) for picture, alt in zip(old.pictures, alts, strict=True)
    )
    changed = [name for name in ("caption", "hashtags", "account") if getattr(content, name) != getattr(old, name)]
    changed += ["alt text"] if pictures != old.pictures else []
    changed += [f"time, now {content.when:%Y-%m-%d %H:%M}"] if content.when != old.when else []
    return post_store.edit(store, post, replace(content, pictures=pictures), by, f"changed: {', '.join(changed)}")


def swap(store: Store, post: Post, by: str, number: int, loaded: LoadedSettings, place: int = 0) -> Post:
    """Replace a picture by a candidate, which may be a rejected one."""
    _require_editable(post)
    candidate = _unused_candidate(store, post, number)
    pictures = list(post.content.pictures)
    if pictures and not 0 <= place < len(pictures):
        raise UserError(f"post {post.id} has {len(pictures)} pictures and none at place {place + 1}: look at it again")
    alt = pictures[place].alt if pictures else _alt_text_for_draft(store, post)
    pictures[place : place + 1] = [_make_picture(post, candidate, alt, loaded)]
    return _save_pictures(store, post, pictures, by, f"picture {candidate.number} of the candidates instead")


def add(store: Store, post: Post, by: str, number: int, loaded: LoadedSettings) -> Post:
    """Add a candidate as a further picture, which makes the post an album."""
    _require_editable(post)
    if post.content.kind == "story" or not post.content.pictures:
        problem = "is a story, which has one picture" if post.content.kind == "story" else "has no picture yet"
        raise UserError(f"post {post.id} {problem}: take the candidate in its place")
    if len(post.content.pictures) + 1 not in place_rules(loaded).album_sizes:
        raise UserError(f"post {post.id} has {len(post.content.pictures)} pictures, and an album takes no more")
    candidate = _unused_candidate(store, post, number)
    picture = _make_picture(post, candidate, post.content.pictures[0].alt, loaded)
    return _save_pictures(
        store, post, [*post.content.pictures, picture], by, f"picture {candidate.number} of the candidates added"
    )


def take_out(store: Store, post: Post, by: str, place: int) -> Post:
    """Remove one picture of an album; the last one stays."""
    _require_editable(post)
    pictures = list(post.content.pictures)
    if not 0 <= place < len(pictures) or len(pictures) < 2:
        raise UserError(f"post {post.id} has no further picture at place {place + 1} to take out: swap it, or reject")
    del pictures[place]
    return _save_pictures(store, post, pictures, by, f"picture {place + 1} of the album taken out")


def undoable(post: Post, events: Sequence[PostEvent]) -> str:
    """Return a name for what undoing would take back; an empty text where it cannot be undone."""
    last = events[-1] if events else None
    if last is None or last.state != post.state or not last.was:
        return ""
    if last.state == "approved" and last.was == "awaiting review":
        return "approval"
    if last.state == "rejected" and last.was in (*OPEN, "failed"):
        return "rejection"
    if last.state == "draft" and not post.problem and post.content.pictures:
        return "wish for new pictures"
    before = next((event.revision for event in reversed(events) if event.revision != post.revision), None)
    changed = last.revision == post.revision and before is not None and last.was in EDITABLE
    fresh = all(event.revision != post.revision for event in events[:-1])
    return "change" if changed and fresh and last.state == "awaiting review" and last.was != "draft" else ""


def undo(store: Store, post: Post, by: str) -> Post:
    """Undo the last step if a person made it and nothing was sent since. The post ends in review, never approved."""
    events = post_store.history(store, post.id)
    label = undoable(post, events)
    if not label:
        raise UserError(f"post {post.id} is {post.state}, and its last step cannot be taken back: approve or reject it")
    reason = f"{UNDONE}the {label}"
    if label != "change":
        to: State = "awaiting review" if post.content.pictures else "draft"
        with store.writing() as connection:
            changes = _next_revision(post, events[-1].was)
            return post_store.change_state(
                connection, post, to, by, reason, at=store.clock(), problem=post.problem, **changes
            )
    before = next(event.revision for event in reversed(events) if event.revision != post.revision)
    content = post_store.revisions(store, post.id).get(before)
    if content is None:
        raise UserError(f"post {post.id} was changed before changes were kept, so edit it by hand")
    return post_store.edit(store, post, content, by, reason)


def _next_revision(post: Post, was: str) -> dict[str, Any]:
    """Return the next revision after a failure, so that its publication starts from the beginning."""
    return {"revision": post.revision + 1} if was == "failed" else {}


def _require_editable(post: Post) -> None:
    if post.state not in EDITABLE:
        reasons = {"published": "it is out", "unknown": "it may be out", "needs a person": "it may be out"}
        reason = reasons.get(post.state, "it is on its way out")
        remedy = ": see restage review " + post.id
        raise UserError(f"post {post.id} is {post.state} and cannot be changed, since {reason}{remedy}")


def _save_pictures(store: Store, post: Post, pictures: Sequence[PostPicture], by: str, reason: str) -> Post:
    """Save the post with these pictures; their number decides whether it is a photo or an album."""
    kind = post.content.kind if post.content.kind == "story" else "album" if len(pictures) > 1 else "photo"
    return post_store.edit(store, post, replace(post.content, kind=kind, pictures=tuple(pictures)), by, reason)


def _unused_candidate(store: Store, post: Post, number: int) -> PostCandidate:
    candidate = next((option for option in post_store.candidates(store, post.id) if option.number == number), None)
    if candidate is None:
        raise UserError(f"post {post.id} has no candidate {number}: see restage review {post.id}")
    if any(picture.picture == candidate.picture for picture in post.content.pictures):
        raise UserError(f"post {post.id} shows candidate {number} already: choose another one")
    return candidate


def _make_picture(post: Post, candidate: PostCandidate, alt: str, loaded: LoadedSettings) -> PostPicture:
    master = PictureFiles(loaded.studio).picture_path(candidate.picture)
    jpeg = make_jpeg(master, _size_of(post), alt, loaded)
    return PostPicture(candidate.picture, jpeg.file, jpeg.sha256, alt, jpeg.width, jpeg.height)


def _with_alt_text(picture: PostPicture, alt: str, post: Post, loaded: LoadedSettings) -> PostPicture:
    """Return the same picture with another alt text, which is written into its file too."""
    if picture.alt == alt:
        return picture
    jpeg = make_jpeg(PictureFiles(loaded.studio).picture_path(picture.picture), _size_of(post), alt, loaded)
    return replace(picture, alt=alt, file=jpeg.file, sha256=jpeg.sha256, width=jpeg.width, height=jpeg.height)


def _size_of(post: Post) -> Size:
    size: Size | None = next((name for name in get_args(Size) if name == post.size), None)
    assert size, f"post {post.id} has the size {post.size!r}"
    return size


def _alt_text_for_draft(store: Store, post: Post) -> str:
    """Return the alt text of a draft's earlier picture, or else a minimal text."""
    earlier = [content.pictures[0].alt for content in post_store.revisions(store, post.id).values() if content.pictures]
    return earlier[-1] if earlier else f"An AI-made picture of {post.persona}."


def _check_texts(post: Post, content: PostContent, alts: Sequence[str]) -> None:
    try:
        for alt in alts or ("",):
            check_instagram_limits(
                ShotTexts(post.prompt or "…", caption=content.caption, alt=alt, hashtags=content.hashtags)
            )
    except UserError as error:
        raise UserError(f"post {post.id}: {error}") from None


def _parse_hashtags(post: Post, texts: Sequence[str]) -> tuple[str, ...]:
    try:
        return clean_hashtags([text.strip() for text in texts])
    except UserError as error:
        raise UserError(f"post {post.id}: {error}") from None


def _parse_account(name: str) -> str:
    if not ACCOUNT.fullmatch(name.strip()):
        raise UserError(f"account: {name[:60]!r} is no name of an account: use letters, digits, _, . and -")
    return name.strip()


def _local_moment(when: datetime, old: datetime) -> datetime:
    """Convert a time to the time zone of the post; a time skipped by its clocks moves to the next valid one."""
    zone = old.tzinfo
    assert isinstance(zone, ZoneInfo), "posts keep the time zone of their calendar"
    if not 2000 <= when.year <= 2199:
        raise UserError(f"when: {when:%Y-%m-%d} is out of range: use a day from 2000 to 2199")
    return when.astimezone(zone) if when.tzinfo else local_time(when, zone)


def _clean_reason(reason: str) -> str:
    """Return the reason on one line, shortened to the maximum length."""
    return _single_line(reason)[:MAX_REASON_LENGTH]


def _single_line(text: str) -> str:
    return " ".join(_remove_invisible(text).split())


def _remove_invisible(text: str) -> str:
    return CONTROL_CHARACTERS.sub(" ", text)
