"""Serve the board: `serve_board(loaded)` runs until somebody stops it."""

from __future__ import annotations

from models.system.errors import UserError
from tasks.settings.settings import LoadedSettings


def serve_board(loaded: LoadedSettings, host: str = "", port: int = 0) -> None:
    """Serve on the given host and port, or on those of the settings."""
    import uvicorn

    from board.app import create_app

    host, port = host or loaded.settings.board.host, port or loaded.settings.board.port
    app = create_app(loaded, host)
    _check_free(host, port)
    # Addresses are logged nowhere: they name posts, and there is nothing to gain from them.
    config = uvicorn.Config(app, host=host, port=port, log_level="warning", access_log=False, server_header=False)
    uvicorn.Server(config).run()


def board_address(host: str, port: int) -> str:
    """Return the address that one types into a browser on this machine."""
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{name}:{port}/"


def _check_free(host: str, port: int) -> None:
    import socket

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise UserError(
                f"the board cannot listen on {host} port {port} ({reason}): set another [board] port"
            ) from None
