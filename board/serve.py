"""Serve the board: `run(loaded)` until somebody stops it."""

from __future__ import annotations

from models.system.errors import UserError
from tasks.settings.settings import Loaded


def run(loaded: Loaded, host: str = "", port: int = 0) -> None:
    """On the host and port of the settings where none are given."""
    import uvicorn

    from board.app import create

    host, port = host or loaded.settings.board.host, port or loaded.settings.board.port
    app = create(loaded, host)
    _check_free(host, port)
    # Addresses are logged nowhere: they name posts, and there is nothing to gain from them.
    config = uvicorn.Config(app, host=host, port=port, log_level="warning", access_log=False, server_header=False)
    uvicorn.Server(config).run()


def address(host: str, port: int) -> str:
    """As one types it into a browser on this machine."""
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{name}:{port}/"


def _check_free(host: str, port: int) -> None:
    import socket

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as there:
        there.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            there.bind((host, port))
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            raise UserError(
                f"the board cannot listen on {host} port {port} ({why}): set another [board] port"
            ) from None
