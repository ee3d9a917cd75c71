"""What all pages use: the studio, its store, and what the board itself remembers while it runs."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from starlette.requests import Request

from board.replays import Replays
from board.request_guard import ANYBODY
from board.sessions import Clock, LoginThrottle, Sessions
from board.thumbs import PictureThumbnails
from models.system.errors import UserError
from tasks.persona import persona as personas
from tasks.persona.persona import Persona
from tasks.posts import review
from tasks.references.reference_set import ReferenceSet, ReferenceSetStore
from tasks.settings.settings import LoadedSettings
from tasks.store.picture_files import PictureFiles
from tasks.store.store import Store


class BoardContext:
    def __init__(self, loaded: LoadedSettings, clock: Clock) -> None:
        password = loaded.settings.secrets.board_password
        self.loaded = loaded
        self.store = Store.open(loaded.database, loaded.studio, clock=loaded.clock)
        self.artifacts = PictureFiles(loaded.studio)
        self.sessions = Sessions(password.get_secret_value() if password else "", clock)
        self.login_throttle = LoginThrottle(clock)
        self.thumbs = PictureThumbnails(loaded.studio)
        self.replays = Replays(loaded)
        self.now = loaded.clock
        # Where everybody who comes has the one password, the machine's user is not who decided.
        self.by = "the board" if self.sessions.needs_password else review.user()

    def read_personas(self) -> tuple[list[Persona], list[str]]:
        """Read the personas, with a message about each one that cannot be read."""
        people, problems = [], []
        for name in personas.persona_names(self.loaded.folder):
            try:
                people.append(personas.find_persona(name, self.loaded.folder))
            except UserError as error:
                problems.append(str(error))
        return people, problems

    def current_references(self, persona: str) -> ReferenceSet | None:
        """Return the persona's current reference set, or None if there is none or it cannot be read."""
        try:
            return ReferenceSetStore(self.loaded.studio, persona).current_set()
        except UserError:
            return None

    def studio_file(self, name: str) -> Path | None:
        """Return a file of the studio by its name in the store; None for anything outside the studio."""
        studio = self.loaded.studio.resolve()
        path = (studio / name).resolve()
        return path if path.is_relative_to(studio) and path.is_file() else None


def board_context(request: Request) -> BoardContext:
    return cast(BoardContext, request.app.state.context)


def csrf_token(request: Request) -> str:
    """Return the token for the page's changes."""
    sessions = board_context(request).sessions
    return sessions.csrf_token(request.state.session if sessions.needs_password else ANYBODY)
