"""All that the pages stand on: the studio, its store, and what the board itself remembers while it runs."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from starlette.requests import Request

from board.replays import Replays
from board.request_guard import ANYBODY
from board.sessions import Clock, Patience, Sessions
from board.thumbs import Thumbs
from models.system.errors import UserError
from tasks.persona import persona as personas
from tasks.persona.persona import Persona
from tasks.posts import review
from tasks.references.reference_set import ReferenceSet, Shelf
from tasks.settings.settings import Loaded
from tasks.store.picture_files import Artifacts
from tasks.store.store import Store


class Desk:
    def __init__(self, loaded: Loaded, clock: Clock) -> None:
        password = loaded.settings.secrets.board_password
        self.loaded = loaded
        self.store = Store.open(loaded.database, loaded.studio, clock=loaded.clock)
        self.artifacts = Artifacts(loaded.studio)
        self.sessions = Sessions(password.get_secret_value() if password else "", clock)
        self.patience = Patience(clock)
        self.thumbs = Thumbs(loaded.studio)
        self.replays = Replays(loaded)
        self.now = loaded.clock
        # Where everybody who comes has the one password, the machine's user is not who decided.
        self.by = "the board" if self.sessions.needed else review.user()

    def personas(self) -> tuple[list[Persona], list[str]]:
        """Those that can be read, and a sentence about each that cannot."""
        found, problems = [], []
        for name in personas.names(self.loaded.folder):
            try:
                found.append(personas.find(name, self.loaded.folder))
            except UserError as error:
                problems.append(str(error))
        return found, problems

    def references(self, persona: str) -> ReferenceSet | None:
        """What the persona is to look like; a set that cannot be read is as good as none here."""
        try:
            return Shelf(self.loaded.studio, persona).current()
        except UserError:
            return None

    def inside(self, name: str) -> Path | None:
        """A file of the studio by its name in the store; nothing outside it, whatever the name says."""
        studio = self.loaded.studio.resolve()
        path = (studio / name).resolve()
        return path if path.is_relative_to(studio) and path.is_file() else None


def desk(request: Request) -> Desk:
    return cast(Desk, request.app.state.desk)


def token(request: Request) -> str:
    """For the page's changes."""
    sessions = desk(request).sessions
    return sessions.token(request.state.session if sessions.needed else ANYBODY)
