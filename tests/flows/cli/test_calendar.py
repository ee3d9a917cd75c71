"""`restage calendar` as its users meet it."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from flows import cli
from tests.support.calendars import write

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command in a folder with settings: exit code, output, errors."""
    (tmp_path / "settings.toml").touch()
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["restage", "calendar", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        captured = capsys.readouterr()
        return int(stop.value.code or 0), captured.out, captured.err

    return call


SHOTS = [
    {
        "id": "walk",
        "when": "mon, wed",
        "prompt": "a {{ token }}, " + "long " * 40,
        "caption": "One.\n\nTwo.",
        "alt": "A fox.",
    },
    {"id": "late", "when": "2026-11-25", "at": "23:59", "hashtags": ["a", "b"], "negative": "blur"},
]

PAGE = f"""\
pip: 3 pictures (Europe/Berlin)

Mon 23 Nov 2026
  walk · 09:00 · portrait · no. 93 · seed 359080599
    prompt    a <pip>, {"long " * 40}
    caption   One.

              Two.
    alt       A fox.

Wed 25 Nov 2026
  walk · 09:00 · portrait · no. 94 · seed SEED
    prompt    a <pip>, {"long " * 40}
    caption   One.

              Two.
    alt       A fox.
  late · 23:59 · portrait · no. 1 · seed SEED
    prompt    a fox
    negative  blur
    hashtags  #a #b
"""


def test_it_shows_whole_days_of_the_calendars_time_zone(run: Run, tmp_path: Path) -> None:
    write(tmp_path, SHOTS, timezone="Europe/Berlin", at="09:00")
    code, out, err = run("pip", "--from", "2026-11-23", "--days", 3)
    assert (code, err) == (0, "")
    lines = [line.split("seed ")[0].rstrip() for line in out.rstrip().splitlines()]
    assert lines == [line.split("seed ")[0].rstrip() for line in PAGE.rstrip().splitlines()]
    assert "late" not in run("pip", "--from", "2026-11-23", "--days", 2)[1]
    assert run("pip", "--from", "2026-11-26", "--days", 1)[1] == "pip: nothing is due (Europe/Berlin)\n\n"


def test_it_shows_how_a_picture_is_made_where_the_calendar_says_so(run: Run, tmp_path: Path) -> None:
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "film.safetensors").touch()
    ways = {
        "steps": 12,
        "sampler": "dpmpp 2m",
        "guidance_until": 0.8,
        "loras": ["film.safetensors:0.5"],
        "refiner": "x",
    }
    write(tmp_path, [ways, {"refiner_strength": 0.2}])
    code, out, _ = run("pip", "--from", "2026-11-23", "--days", 1)
    assert code == 0
    assert [line.strip() for line in out.splitlines() if "made with" in line] == [
        "made with steps 12, guidance until 0.8, sampler dpm++ 2m, refiner x, loras film.safetensors:0.5"
    ]
    found = json.loads(run("pip", "--from", "2026-11-23", "--days", 1, "--json")[1])["due"][0]
    assert found["loras"] == {str(tmp_path / "prompts" / "film.safetensors"): 0.5}
    assert (found["sampler"], found["refiner"], found["refiner_strength"]) == ("dpm++ 2m", "x", 0.3)


def test_json_says_the_same(run: Run, tmp_path: Path) -> None:
    write(tmp_path, SHOTS, timezone="Europe/Berlin", at="09:00", size="square", candidates=3, account="pip.daily")
    code, out, _ = run("pip", "--from", "2026-11-25", "--days", 1, "--json")
    assert code == 0
    found = json.loads(out)
    assert (found["problems"], found["notes"]) == ([], [])
    assert [each["key"] for each in found["due"]] == ["pip/walk/2026-11-25", "pip/late/2026-11-25"]
    late = found["due"][1]
    assert isinstance(late.pop("seed"), int)
    assert late == {
        "key": "pip/late/2026-11-25",
        "persona": "pip",
        "shot": "late",
        "when": "2026-11-25T23:59:00+01:00",
        "count": 1,
        "size": "square",
        "candidates": 3,
        "account": "pip.daily",
        "prompt": "a fox",
        "negative": "blur",
        "caption": "",
        "alt": "",
        "hashtags": ["a", "b"],
        "init": None,
        "steps": None,
        "guidance": None,
        "guidance_until": None,
        "sampler": None,
        "strength": None,
        "token_weight": 1.0,
        "loras": {},
        "refiner": None,
        "refiner_strength": None,
    }


def test_problems_stand_at_the_end_once_and_end_the_command_with_one(run: Run, tmp_path: Path) -> None:
    write(tmp_path, [{"id": "bad", "caption": "{{ 1 / 0 }}"}, {"id": "good"}])
    code, out, err = run("--days", 5)
    assert code == 1
    assert out.startswith("pip: 5 pictures (UTC)")
    file = (tmp_path / "prompts" / "pip.toml").resolve()
    sentence = f"{file}: shot 'bad': caption: its template divides by zero: check the number after / or %"
    assert err == f"{sentence}\n"
    code, out, err = run("pip", "--json")
    assert (code, err) == (1, "")
    assert json.loads(out)["problems"] == [sentence]
    assert len(json.loads(out)["due"]) == 14


def test_all_personas_where_none_is_named(run: Run, tmp_path: Path) -> None:
    file = write(tmp_path, [{}])
    file.with_name("rex.toml").write_text(file.read_text().replace("pip", "rex"))
    _, out, _ = run("--days", 1)
    assert [line.split(":")[0] for line in out.splitlines() if "pictur" in line] == ["pip", "rex"]


def test_a_shot_of_every_minute_is_cut_with_a_note(run: Run, tmp_path: Path) -> None:
    write(tmp_path, [{"when": "cron * * * * *"}])
    code, out, err = run("--days", 1)
    assert code == 0
    assert out.startswith("pip: 500 pictures")
    assert err.endswith("shot 's0': 940 occurrences are left out: 500 at a time at most\n")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--from", "tomorrow"], "--from 'tomorrow' is no date from 2000-01-01 to 2199-12-31: write it as 2026-12-24"),
        (["--from", "1999-12-31"], "is no date from 2000-01-01"),
        (["pop"], "there is no persona 'pop'"),
    ],
)
def test_mistakes(arguments: list[str], sentence: str, run: Run, tmp_path: Path) -> None:
    write(tmp_path, [{}])
    code, _, err = run(*arguments)
    assert code == 1
    assert sentence in err
    assert len(err.splitlines()) == 1


def test_the_last_and_the_first_day_there_are(run: Run, tmp_path: Path) -> None:
    write(tmp_path, [{}], timezone="Pacific/Auckland")
    assert run("--from", "2199-12-31", "--days", 366)[1].startswith("pip: 1 picture ")
    assert run("--from", "2000-01-01", "--days", 1)[1].startswith("pip: nothing is due")


def test_no_persona_at_all(run: Run) -> None:
    code, _, err = run()
    assert code == 1
    assert "make one with restage new persona NAME" in err


def test_on_a_terminal_lines_end_before_its_edge(tmp_path: Path) -> None:
    pty = pytest.importorskip("pty")
    import os

    (tmp_path / "settings.toml").touch()
    write(tmp_path, SHOTS)
    leader, follower = pty.openpty()
    command = [Path(sys.executable).with_name("restage"), "calendar", "pip", "--from", "2026-11-23", "--days", "3"]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=follower, env=os.environ | {"COLUMNS": "80", "TERM": "xterm"}, close_fds=True
    )
    os.close(follower)
    written = b""
    try:
        while chunk := os.read(leader, 4096):
            written += chunk
    except OSError:  # how a terminal says that nobody writes any more
        pass
    os.close(leader)
    assert process.wait() == 0
    import re

    lines = re.sub(r"\x1b\[[0-9;]*m", "", written.decode()).splitlines()
    assert 70 < max(map(len, lines)) <= 80


def test_it_is_light(tmp_path: Path) -> None:
    """Nothing heavy is imported to show a calendar, nor is it for --help."""
    code = (
        "import sys; from flows import cli; heavy = {'torch', 'prefect', 'sqlalchemy', 'transformers'};"
        "sys.argv = ['restage', 'calendar', 'pip', '--days', '3']\n"
        "try: cli.main()\nexcept SystemExit: pass\n"
        "print(heavy & set(sys.modules), file=sys.stderr)"
    )
    (tmp_path / "settings.toml").touch()
    write(tmp_path, [{"prompt": "{{ token }} {a|b}"}])
    import os

    root = Path(__file__).parents[3]
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
    )
    assert run.stderr == "set()\n"
    assert run.stdout.startswith("pip: 3 pictures")
