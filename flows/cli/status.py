"""`restage status`: show what is due, waiting, published and failing, and when the last run was and the next will be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from flows.serving.serve import LOCK_FILE, find_addresses, is_reachable
from models.system import file_lock
from models.system.errors import UserError
from tasks.calendar.daily_runs import next_runs
from tasks.calendar.wording import plan_ahead
from tasks.persona import persona
from tasks.posts import post_store
from tasks.posts.post import Post
from tasks.posts.states import State
from tasks.settings.settings import LoadedSettings
from tasks.store.store import FILE, Store

WAITING: Sequence[State] = ("awaiting review",)
APPROVED: Sequence[State] = ("approved",)
TROUBLE: Sequence[State] = ("failed", "needs a person", "unknown", "draft")
LOOKAHEAD = timedelta(days=7)
MAX_PUBLISHED = 5


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
    approved: list[Post] = field(default_factory=list)
    published: list[Post] = field(default_factory=list)
    trouble: list[Post] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def collect_status(loaded: LoadedSettings, now: datetime | None = None) -> Status:
    """Read the store, the calendars and, if it answers, Prefect."""
    now = now or loaded.clock()
    status = Status(next=next_runs(loaded, now))
    posted_keys = _collect_posts(loaded, status)
    for name in persona.persona_names(loaded.folder):
        _collect_due(loaded, name, now, posted_keys, status)
    status.due.sort(key=lambda due_shot: due_shot["when"])
    api = find_addresses(loaded).api
    server = file_lock.lock_holder(loaded.studio / LOCK_FILE)
    if server and server.get("prefect"):
        api = f"{server['prefect']}/api"
    if is_reachable(api):
        status.runs_at = api.removesuffix("/api")
        status.last = _last_run(api)
    return status


def _collect_posts(loaded: LoadedSettings, status: Status) -> set[str]:
    """Sort the posts of the store by state, and return the keys of the occurrences that have a post."""
    if not loaded.database.get_secret_value() and not (loaded.studio / FILE).exists():
        return set()  # looking must not make one
    with closing(Store.open(loaded.database, loaded.studio, clock=loaded.clock)) as store:
        status.waiting, status.approved, status.trouble = (
            post_store.find(store, states) for states in (WAITING, APPROVED, TROUBLE)
        )
        status.published = post_store.find(store, ["published"], newest_first=True, limit=MAX_PUBLISHED)
        return {post.key for post in post_store.find(store)}


def _collect_due(loaded: LoadedSettings, name: str, now: datetime, posted_keys: set[str], status: Status) -> None:
    try:
        plan = plan_ahead(persona.find_persona(name, loaded.folder), now, now + LOOKAHEAD)
    except UserError as error:
        status.problems.append(str(error))
        return
    status.problems += list(dict.fromkeys(map(str, plan.problems)))
    status.due += [
        {"persona": name, "shot": due_shot.shot, "when": due_shot.when.isoformat(), "key": due_shot.key}
        for due_shot in plan.due
        if due_shot.key not in posted_keys
    ]


def _last_run(api: str) -> dict[str, Any] | None:
    """Ask Prefect for the last daily run."""
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


def format_status(status: Status) -> list[str]:
    """List the status as lines for a terminal: the counts, then what needs a person."""
    lines = [
        f"{len(status.due):4} due in {LOOKAHEAD.days} days without a post" + _next_due(status.due),
        f"{len(status.waiting):4} to review" + (": restage review" if status.waiting else ""),
        f"{len(status.approved):4} approved",
        f"{len(status.trouble):4} in trouble",
    ]
    lines += [f"     {post.id}  {post.state}  {post.shot} of {post.persona}: {post.problem}" for post in status.trouble]
    if status.published:
        last = status.published[0]
        lines.append(f"     last published: {last.shot} of {last.persona}, {last.content.when:%Y-%m-%d %H:%M}")
    if status.last:
        lines.append(f"     last run: {status.last['name']}, {status.last['state']}, {status.last['at'][:16]} UTC")
    if status.next:
        runs = f"Prefect answers at {status.runs_at}" if status.runs_at else "nothing runs: restage serve"
        name, start = next(iter(status.next.items()))
        lines.append(f"     next run: {name}, {start:%Y-%m-%d %H:%M %Z} ({runs})")
    return [*lines, *status.problems]


def _next_due(due: Sequence[dict[str, Any]]) -> str:
    return f": the next is {due[0]['shot']} of {due[0]['persona']}, {due[0]['when'][:16]}" if due else ""


def summarize_status(status: Status) -> dict[str, Any]:
    """Return the status as values for scripts."""

    def post_row(post: Post) -> dict[str, Any]:
        values = {"post": post.id, "persona": post.persona, "shot": post.shot, "state": post.state}
        return values | {"when": post.content.when.isoformat(), "problem": post.problem}

    lists = {
        "waiting": status.waiting,
        "ready": status.approved,
        "published": status.published,
        "trouble": status.trouble,
    }
    return {
        "prefect": status.runs_at,
        "last": status.last,
        "next": {name: start.isoformat() for name, start in status.next.items()},
        "due": status.due,
        **{name: [post_row(post) for post in posts] for name, posts in lists.items()},
        "problems": status.problems,
    }
