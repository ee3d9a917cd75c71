"""Picture vectors kept on disk, so that no picture goes through the same model twice."""

import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from models.system.errors import UserError

# Written into the file's header, so that another program's database is never taken for ours.
APPLICATION_ID = 0x52535654  # "RSVT"
VERSION = 1
BUSY_SECONDS = 30.0

SCHEMA = """
CREATE TABLE IF NOT EXISTS vectors (
    model TEXT NOT NULL,
    pixels TEXT NOT NULL,
    vector BLOB NOT NULL,
    PRIMARY KEY (model, pixels)
) WITHOUT ROWID
"""


class VectorCache:
    """One SQLite file of unit vectors by model and picture; any number of processes may use it at once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        # SQLite serialises single statements between threads, not whole transactions: the lock does that.
        self._lock = threading.Lock()
        with self._explain_errors():
            path.parent.mkdir(parents=True, exist_ok=True)
            # isolation_level=None: transactions begin and end where this file says so, nowhere else.
            self._database = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
            try:
                self._open_database()
            except BaseException:
                self._database.close()
                raise

    def read_vector(self, model: str, pixels: str, dimension: int) -> np.ndarray | None:
        """Return the stored vector of this picture, or None."""
        query = "SELECT vector FROM vectors WHERE model = ? AND pixels = ?"
        with self._explain_errors(), self._lock:
            row = self._database.execute(query, (model, pixels)).fetchone()
        return None if row is None else self._decode_vector(row[0], dimension)

    def store_vectors(self, model: str, rows: Sequence[tuple[str, np.ndarray]]) -> None:
        """Store vectors by pixel hash: all of them or, if the process is killed, none."""
        values = [(model, pixels, vector.astype("<f4").tobytes()) for pixels, vector in rows]
        with self._explain_errors(), self._lock, self._write_transaction():
            # Another process may have made the same vector meanwhile: it is the same one, keep the first.
            self._database.executemany("INSERT OR IGNORE INTO vectors VALUES (?, ?, ?)", values)

    def close(self) -> None:
        self._database.close()

    def _open_database(self) -> None:
        if self._is_ours():
            return
        self._switch_to_wal()
        with self._write_transaction():
            self._database.execute(SCHEMA)
            self._database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            self._database.execute(f"PRAGMA user_version = {VERSION}")

    def _is_ours(self) -> bool:
        """Return False for a file that is still empty; raise an error for another program's file."""
        # NORMAL loses at most the last transactions in a power cut and never corrupts the file.
        self._database.execute("PRAGMA synchronous = NORMAL")
        application = self._database.execute("PRAGMA application_id").fetchone()[0]
        version = self._database.execute("PRAGMA user_version").fetchone()[0]
        tables = {name for (name,) in self._database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if application == 0 and not tables:
            return False
        if application != APPLICATION_ID or version != VERSION or "vectors" not in tables:
            raise sqlite3.DatabaseError("it is another program's database, or another version's")
        return True

    def _switch_to_wal(self) -> None:
        """Switch to WAL and retry: processes that create the file together collide here, despite the busy timeout."""
        deadline = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                self._database.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def _decode_vector(self, blob: object, dimension: int) -> np.ndarray:
        if isinstance(blob, bytes) and len(blob) == 4 * dimension:
            vector = np.frombuffer(blob, dtype="<f4").astype(np.float32)
            if abs(float(vector @ vector) - 1) < 1e-3:
                return vector
        raise UserError(
            f"the vector cache {self.path} is damaged (an entry is no unit vector of {dimension} numbers): "
            "move it away, and it is made anew"
        )

    @contextmanager
    def _write_transaction(self) -> Iterator[None]:
        # IMMEDIATE takes the write lock at once, so that the busy timeout applies to all of it.
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")

    @contextmanager
    def _explain_errors(self) -> Iterator[None]:
        """Turn errors of the file into messages that name it; the file itself is left as it is."""
        try:
            yield
        except sqlite3.OperationalError as error:  # locked, read-only, a full disk, a folder
            raise UserError(f"the vector cache {self.path} cannot be used: {error}") from error
        except OSError as error:
            raise UserError(f"the vector cache {self.path} cannot be used: {error.strerror}") from error
        except sqlite3.DatabaseError as error:
            raise UserError(
                f"{self.path} is not a readable vector cache ({error}): move it away, and it is made anew"
            ) from error
