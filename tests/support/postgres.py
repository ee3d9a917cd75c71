"""A PostgreSQL server of the tests' own: in a folder that goes away, on a socket in it, reachable by nobody else."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

PASSWORD = "planted:@/pass word"
QUOTED = "planted%3A%40%2Fpass%20word"
START_SECONDS = 120.0


def programs() -> Path | None:
    """The folder of the server's programs. Debian keeps them off the path."""
    on_path = shutil.which("postgres")
    folders = [Path(on_path).resolve().parent] if on_path else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in folders if (folder / "initdb").is_file()), None)


class Server:
    def __init__(self, folder: Path, programs: Path) -> None:
        self.folder, self.programs = folder, programs
        # The server refuses to run as root.
        self.user = "postgres" if os.geteuid() == 0 else None

    def url(self, database: str, password: str = QUOTED) -> str:
        return f"postgresql://restage:{password}@/{database}?host={self.folder}"

    def new_database(self) -> str:
        """An empty database, and its address."""
        import psycopg
        from psycopg import sql

        name = f"restage_{uuid4().hex[:12]}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self.url(name)

    def run(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        command = [str(self.programs / program), *arguments]
        silent = subprocess.DEVNULL
        return subprocess.Popen(
            command, user=self.user, cwd=self.folder, stdout=silent, stderr=silent, env={"LC_ALL": "C"}
        )


@contextmanager
def running(programs: Path) -> Iterator[Server]:
    folder = Path(tempfile.mkdtemp(prefix="restage-pg-"))
    server, process = Server(folder, programs), None
    try:
        (folder / "password").write_text(PASSWORD)
        if server.user:
            shutil.chown(folder, server.user)
            shutil.chown(folder / "password", server.user)
        data = str(folder / "data")
        made = server.run(
            "initdb", "-D", data, "-U", "restage", "-A", "scram-sha-256", f"--pwfile={folder / 'password'}", "--no-sync"
        )
        assert made.wait(START_SECONDS) == 0
        quick = ["-c", "fsync=off", "-c", "listen_addresses=", "-c", f"unix_socket_directories={folder}"]
        process = server.run("postgres", "-D", data, *quick)
        _wait(server, process)
        yield server
    finally:
        if process:
            process.send_signal(signal.SIGQUIT)  # at once: nothing of it is kept
            process.wait(START_SECONDS)
        shutil.rmtree(folder)


def _wait(server: Server, process: subprocess.Popen[bytes]) -> None:
    import psycopg

    deadline = time.monotonic() + START_SECONDS
    while True:
        assert process.poll() is None, "the server ended"
        try:
            psycopg.connect(server.url("postgres")).close()
            return
        except psycopg.OperationalError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
