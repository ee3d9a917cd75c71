"""The store on real databases: made once by however many, whole after any death, and nobody else's."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sqlalchemy import create_engine, insert, inspect, select, text
from sqlalchemy.exc import IntegrityError

from models.system.errors import UserError
from tasks.store import migrations, tables
from tasks.store.migrations import Migration
from tasks.store.store import FILE, Store, StoreError
from tests.support import postgres
from tests.support.stores import Opened

REPOSITORY = Path(__file__).parents[3]
LAST = migrations.ALL_MIGRATIONS[-1].number
NEXT = Migration(LAST + 1, "fruit", ("CREATE TABLE fruit (name TEXT NOT NULL)", "INSERT INTO fruit VALUES ('apple')"))
BROKEN = Migration(LAST + 1, "fruit", (NEXT.statements[0], "INSERT INTO nothing_of_the_kind VALUES (1)"))
WORD = {
    "persona": "pip", "id": "a" * 64, "version": 1, "file": "x", "token": "<pip>", "base_model": "",
    "base_model_name": "", "reference_set": "", "training": "", "vectors": 1, "score": None, "metrics": "{}",
    "note": "", "created_at": "2026-11-20T09:00:00.000+00:00",
}  # fmt: skip


def numbers(store: Store) -> list[int]:
    with store.reading() as connection:
        return list(connection.scalars(select(tables.APPLIED.c.number).order_by(tables.APPLIED.c.number)))


def names(store: Store) -> set[str]:
    with store.reading() as connection:
        return set(inspect(connection).get_table_names())


def python(code: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)


# --- tables -----------------------------------------------------------------------------------------------------------


def test_the_migrations_make_what_queries_expect(store: Store) -> None:
    with store.reading() as connection:
        there = inspect(connection)
        assert set(there.get_table_names()) == set(tables.METADATA.tables)
        for name, table in tables.METADATA.tables.items():
            found = {each["name"]: each for each in there.get_columns(name)}
            assert list(found) == [column.name for column in table.columns], name
            for column in table.columns:
                assert found[column.name]["nullable"] == column.nullable, column
                assert isinstance(found[column.name]["type"], column.type._type_affinity), column
            keys = there.get_pk_constraint(name)["constrained_columns"]
            assert keys == [column.name for column in table.primary_key], name
            foreign = [(each["constrained_columns"], each["referred_table"]) for each in there.get_foreign_keys(name)]
            assert foreign == [
                (list(each.column_keys), each.referred_table.name) for each in table.foreign_key_constraints
            ]
        assert there.get_unique_constraints("embedding")[0]["column_names"] == ["persona", "version"]


def test_numbers_of_migrations_run_from_one_without_a_gap() -> None:
    assert [each.number for each in migrations.ALL_MIGRATIONS] == list(range(1, len(migrations.ALL_MIGRATIONS) + 1))


def test_foreign_keys_hold(store: Store) -> None:
    row = {"persona": "pip", "number": 1, "embedding": "gone", "since": "", "by_whom": "", "why": ""}
    with pytest.raises(IntegrityError), store.writing() as connection:
        connection.execute(insert(tables.EMBEDDING_CURRENT).values(row))


def test_opening_again_changes_nothing(opened: Opened) -> None:
    first = opened()
    with first.writing() as connection:
        connection.execute(insert(tables.EMBEDDING).values(WORD))
    with opened().reading() as connection:
        assert dict(connection.execute(select(tables.EMBEDDING)).mappings().one()) == WORD


def test_sqlite_is_set_up_for_many_readers(tmp_path: Path) -> None:
    store = Store.open("", tmp_path)
    with store.reading() as connection:
        asked = {
            each: connection.exec_driver_sql(f"PRAGMA {each}").scalar() for each in ("journal_mode", "foreign_keys")
        }
        asked |= {
            each: connection.exec_driver_sql(f"PRAGMA {each}").scalar() for each in ("synchronous", "busy_timeout")
        }
    store.close()
    assert asked == {"journal_mode": "wal", "foreign_keys": 1, "synchronous": 2, "busy_timeout": 30_000}


# --- transactions -----------------------------------------------------------------------------------------------------


def test_a_block_that_fails_leaves_nothing(store: Store) -> None:
    with pytest.raises(UserError, match="no more of this"), store.writing() as connection:
        connection.execute(insert(tables.EMBEDDING).values(WORD))
        raise UserError("no more of this")
    with store.reading() as connection:
        assert connection.execute(select(tables.EMBEDDING)).all() == []


def test_reading_cannot_write(store: Store) -> None:
    with pytest.raises(Exception, match="read-?only"), store.reading() as connection:
        connection.execute(insert(tables.EMBEDDING).values(WORD))
    with store.writing() as connection:
        connection.execute(insert(tables.EMBEDDING).values(WORD))


def test_a_reader_sees_one_state(opened: Opened) -> None:
    one, other = opened(), opened()
    count = text("SELECT count(*) FROM embedding")
    with one.reading() as reader:
        assert reader.scalar(count) == 0
        with other.writing() as writer:
            writer.execute(insert(tables.EMBEDDING).values(WORD))
        assert reader.scalar(count) == 0
    with one.reading() as reader:
        assert reader.scalar(count) == 1


def test_writers_wait_for_each_other_and_say_so_when_they_waited_long_enough(opened: Opened) -> None:
    holder, hasty = opened(), opened(patience=0.05)
    with holder.writing():
        with pytest.raises(StoreError) as caught, hasty.writing():
            raise AssertionError("two at once")
        assert not caught.value.permanent
        assert "\n" not in str(caught.value)
        assert "try again" in str(caught.value)
    with hasty.writing():
        pass


COUNT = """
import sys
from pathlib import Path
from sqlalchemy import text
from tasks.store.store import Store
store = Store.open(sys.argv[1], Path(sys.argv[2]))
for _ in range(20):
    with store.writing() as connection:
        last = connection.scalar(text("SELECT max(version) FROM embedding WHERE persona = 'pip'")) or 0
        connection.execute(text(
            "INSERT INTO embedding VALUES ('pip', :id, :n, 'f', 't', '', '', '', '', 1, NULL, '{}', '', '')"
        ), {"id": f"{sys.argv[3]}-{last}", "n": last + 1})
"""


def test_processes_that_make_the_store_together_all_write_into_one(url: str, opened: Opened, tmp_path: Path) -> None:
    running = [python(COUNT, url, tmp_path, number) for number in range(4)]
    assert [each.wait(240) for each in running] == [0, 0, 0, 0]
    with opened().reading() as connection:
        found = list(connection.scalars(select(tables.EMBEDDING.c.version).order_by(tables.EMBEDDING.c.version)))
    assert found == list(range(1, 81))


# --- migrations -------------------------------------------------------------------------------------------------------


def test_a_change_is_applied_once(opened: Opened) -> None:
    known = [*migrations.ALL_MIGRATIONS, NEXT]
    opened()
    for _ in range(2):
        with opened(known=known).reading() as connection:
            assert connection.scalars(text("SELECT name FROM fruit")).all() == ["apple"]
    assert numbers(opened(known=known)) == list(range(1, LAST + 2))


def test_a_change_that_fails_half_way_leaves_the_store_as_it_was(opened: Opened) -> None:
    before = opened()
    with pytest.raises(Exception, match="nothing_of_the_kind"):
        opened(known=[*migrations.ALL_MIGRATIONS, BROKEN])
    assert (numbers(before), names(before)) == (list(range(1, LAST + 1)), set(tables.METADATA.tables))
    assert numbers(opened(known=[*migrations.ALL_MIGRATIONS, NEXT])) == list(range(1, LAST + 2))


def test_the_very_first_change_may_fail_as_well(opened: Opened) -> None:
    first = Migration(1, "x", ("CREATE TABLE x (a TEXT)", "INSERT INTO nothing_of_the_kind VALUES (1)"))
    with pytest.raises(Exception, match="nothing_of_the_kind"):
        opened(known=[first])
    assert names(opened()) == set(tables.METADATA.tables)


KILLED = """
import sys
from pathlib import Path
from tasks.store import migrations
from tasks.store.migrations import Migration
from tasks.store.store import Store
endless = "INSERT INTO fruit WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"
change = Migration(len(migrations.ALL_MIGRATIONS) + 1, "fruit", ("CREATE TABLE fruit (name TEXT NOT NULL)", endless))
Store.open("", Path(sys.argv[1]), known=[*migrations.ALL_MIGRATIONS, change])
"""


def test_kill_9_in_the_middle_of_a_change(tmp_path: Path) -> None:
    before = Store.open("", tmp_path)
    log = tmp_path / f"{FILE}-wal"
    process = python(KILLED, tmp_path)
    deadline = time.monotonic() + 200
    while not log.exists() or log.stat().st_size < 4 << 20:  # rows of the change are on disk, though not committed
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before.close()
    after = Store.open("", tmp_path, known=[*migrations.ALL_MIGRATIONS, NEXT])
    with after.reading() as connection:
        assert connection.scalars(text("SELECT name FROM fruit")).all() == ["apple"]
    assert numbers(after) == list(range(1, LAST + 2))
    after.close()


def test_a_newer_store_is_left_alone(opened: Opened) -> None:
    newer = opened(known=[*migrations.ALL_MIGRATIONS, NEXT])
    with pytest.raises(
        StoreError, match=rf"written by a newer restage \(change {LAST + 1}\): update restage"
    ) as caught:
        opened()
    assert caught.value.permanent
    assert numbers(newer) == list(range(1, LAST + 2))


# --- whose database ---------------------------------------------------------------------------------------------------


def test_another_programs_tables_are_not_touched(url: str, opened: Opened, tmp_path: Path) -> None:
    address = url.replace("postgresql:", "postgresql+psycopg:")
    encoding = {"client_encoding": "utf8"} if url else {}
    engine = create_engine(address or f"sqlite:///{tmp_path / FILE}", connect_args=encoding)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE embedding (mine TEXT)"))
    with pytest.raises(StoreError, match="another program's"):
        opened()
    with engine.begin() as connection:
        assert inspect(connection).get_table_names() == ["embedding"]
        if not url:
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "delete"
    engine.dispose()


def test_a_file_signed_by_another_program_is_not_ours_even_without_tables(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / FILE) as database:
        database.execute("PRAGMA application_id = 7")
    with pytest.raises(StoreError, match="another program's database"):
        Store.open("", tmp_path)


@pytest.mark.parametrize("damage", ["text", "torn"])
def test_a_damaged_file_is_one_sentence_and_stays(damage: str, tmp_path: Path) -> None:
    path = tmp_path / FILE
    if damage == "torn":
        Store.open("", tmp_path).close()
        path.write_bytes(path.read_bytes()[:5000])
    else:
        path.write_text("dear diary, " * 500)
    before = path.read_bytes()
    with pytest.raises(
        StoreError, match=r"restage\.db is not a readable database .*: put a backup in its place"
    ) as caught:
        store = Store.open("", tmp_path)
        with store.reading() as connection:
            connection.execute(select(tables.EMBEDDING)).all()
    assert caught.value.permanent
    assert path.read_bytes() == before


def test_a_place_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "studio").write_text("a file")
    with pytest.raises(StoreError, match=r"studio cannot be made"):
        Store.open("", tmp_path / "studio")
    (tmp_path / "other" / FILE).mkdir(parents=True)
    with pytest.raises(StoreError, match=r"restage\.db cannot be used \(unable to open"):
        Store.open("", tmp_path / "other")


# --- addresses and their passwords ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        "mysql://u:planted@h/x",
        "sqlite:///planted",
        "postgresql://planted",
        "planted",
        "postgresql://u:planted@h:port/x",
    ],
)
def test_an_address_that_is_none_is_not_shown(address: str, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match="the address of the database .*: write it as postgresql://user@host/name"
    ) as caught:
        Store.open(address, tmp_path)
    assert "planted" not in str(caught.value)
    assert not (tmp_path / FILE).exists()


@pytest.mark.parametrize(
    ("address", "permanent"),
    [
        ("postgresql://restage:planted-wrong@/postgres?host={folder}", True),
        ("postgresql://restage@/postgres?host={folder}&password=planted-wrong", True),
        (f"postgresql://restage:{postgres.QUOTED}@/planted_none?host={{folder}}", True),
        ("postgresql://restage:planted@/restage?host={folder}/planted", False),
        ("postgresql://restage:planted@127.0.0.1:9/restage", False),
    ],
)
def test_a_server_that_cannot_be_had_is_one_sentence_without_a_password(
    server: postgres.Server, address: str, permanent: bool, tmp_path: Path
) -> None:
    with pytest.raises(StoreError, match="the PostgreSQL database .* cannot be used") as caught:
        Store.open(address.format(folder=server.folder), tmp_path)
    assert caught.value.permanent == permanent
    said = str(caught.value).replace("planted_none", "").replace(f"{server.folder}/", "")
    assert "planted" not in said.replace("/planted/.s.PGSQL", "").replace("planted/.s.PGSQL", "")
    assert postgres.PASSWORD not in said
    assert "\n" not in said
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
