"""`restage status`: what is due, waiting, published and failing, and when the runs were and will be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from flows.serving.serve import LOCK, answers, places
from models.system import file_lock
from models.system.errors import UserError
from tasks.calendar.daily_runs import upcoming
from tasks.calendar.wording import plan_ahead
from tasks.persona import persona
from tasks.posts import post_store
from tasks.posts.post import Post
from tasks.posts.states import State
from tasks.settings.settings import Loaded
from tasks.store.store import FILE, Store

WAITING: Sequence[State] = ("awaiting review",)
READY: Sequence[State] = ("approved",)
TROUBLE: Sequence[State] = ("failed", "needs a person", "unknown", "draft")
AHEAD = timedelta(days=7)
SHOWN = 5


@dataclass
class Status:
    runs_at: str = ""
    """Prefect's address where it answers."""
    last: dict[str, Any] | None = None
    next: Mapping[str, datetime] = field(default_factory=dict)
    """The daily run of each persona, the earliest first."""
    due: list[dict[str, Any]] = field(default_factory=list)
    """Shots of the next days that have no post yet."""
    waiting: list[Post] = field(default_factory=list)
    ready: list[Post] = field(default_factory=list)
    published: list[Post] = field(default_factory=list)
    trouble: list[Post] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def status(loaded: Loaded, now: datetime | None = None) -> Status:
    """Look at the store, the calendars and, where it answers, Prefect."""
    now = now or loaded.clock()
    found = Status(next=upcoming(loaded, now))
    known = _posts(loaded, found)
    for name in persona.names(loaded.folder):
        _calendar(loaded, name, now, known, found)
    found.due.sort(key=lambda each: each["when"])
    api = places(loaded).api
    said = file_lock.holder(loaded.studio / LOCK)
    if said and said.get("prefect"):
        api = f"{said['prefect']}/api"
    if answers(api):
        found.runs_at = api.removesuffix("/api")
        found.last = _last_run(api)
    return found


def _posts(loaded: Loaded, found: Status) -> set[str]:
    """Sort what is in the store; the occurrences that have a post."""
    if not loaded.database.get_secret_value() and not (loaded.studio / FILE).exists():
        return set()  # looking must not make one
    with closing(Store.open(loaded.database, loaded.studio, clock=loaded.clock)) as store:
        found.waiting, found.ready, found.trouble = (post_store.find(store, each) for each in (WAITING, READY, TROUBLE))
        found.published = post_store.find(store, ["published"], newest_first=True, limit=SHOWN)
        return {post.key for post in post_store.find(store)}


def _calendar(loaded: Loaded, name: str, now: datetime, known: set[str], found: Status) -> None:
    try:
        plan = plan_ahead(persona.find(name, loaded.folder), now, now + AHEAD)
    except UserError as error:
        found.problems.append(str(error))
        return
    found.problems += list(dict.fromkeys(str(each) for each in plan.problems))
    found.due += [
        {"persona": name, "shot": each.shot, "when": each.when.isoformat(), "key": each.key}
        for each in plan.due
        if each.key not in known
    ]


def _last_run(api: str) -> dict[str, Any] | None:
    """The last daily run, as Prefect tells it."""
    import os

    import httpx

    auth = os.environ.get("PREFECT_API_AUTH_STRING", "").partition(":")
    query = {
        "sort": "START_TIME_DESC",
        "limit": 1,
        "flows": {"name": {"any_": ["daily"]}},
        "flow_runs": {"start_time": {"is_null_": False}},
    }
    try:
        with httpx.Client(trust_env=False, timeout=10, auth=(auth[0], auth[2]) if auth[0] else None) as client:
            answer = client.post(f"{api}/flow_runs/filter", json=query)
            rows = answer.json() if answer.status_code == 200 else []
    except (httpx.HTTPError, ValueError):
        return None
    if not rows:
        return None
    run = rows[0]
    return {"name": run["name"], "state": run["state_name"], "at": run["start_time"]}


def lines(found: Status) -> list[str]:
    """For a terminal: the counts, then what wants a person."""
    said = [
        f"{len(found.due):4} due in {AHEAD.days} days without a post" + _first(found.due),
        f"{len(found.waiting):4} to review" + (": restage review" if found.waiting else ""),
        f"{len(found.ready):4} approved",
        f"{len(found.trouble):4} in trouble",
    ]
    said += [f"     {post.id}  {post.state}  {post.shot} of {post.persona}: {post.problem}" for post in found.trouble]
    if found.published:
        last = found.published[0]
        said.append(f"     last published: {last.shot} of {last.persona}, {last.content.when:%Y-%m-%d %H:%M}")
    if found.last:
        said.append(f"     last run: {found.last['name']}, {found.last['state']}, {found.last['at'][:16]} UTC")
    if found.next:
        runs = f"Prefect answers at {found.runs_at}" if found.runs_at else "nothing runs: restage serve"
        name, when = next(iter(found.next.items()))
        said.append(f"     next run: {name}, {when:%Y-%m-%d %H:%M %Z} ({runs})")
    return [*said, *found.problems]


def _first(due: Sequence[dict[str, Any]]) -> str:
    return f": the next is {due[0]['shot']} of {due[0]['persona']}, {due[0]['when'][:16]}" if due else ""


def summary(found: Status) -> dict[str, Any]:
    """The same for scripts."""

    def row(post: Post) -> dict[str, Any]:
        said = {"post": post.id, "persona": post.persona, "shot": post.shot, "state": post.state}
        return said | {"when": post.content.when.isoformat(), "problem": post.problem}

    lists = {"waiting": found.waiting, "ready": found.ready, "published": found.published, "trouble": found.trouble}
    return {
        "prefect": found.runs_at,
        "last": found.last,
        "next": {name: when.isoformat() for name, when in found.next.items()},
        "due": found.due,
        **{name: [row(post) for post in each] for name, each in lists.items()},
        "problems": found.problems,
    }
