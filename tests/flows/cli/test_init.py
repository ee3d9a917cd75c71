"""`restage init`: from a few answers to a folder that works."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from flows.cli import app
from flows.cli.init import SDXL, Answers, local_zone, next_steps, write_starter_files
from models.system.errors import UserError
from tasks.persona import persona
from tasks.settings.settings import load_settings


def test_what_it_writes_is_read_by_every_command(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    answers = Answers(folder, "mara", "sdxl", "mara_daily", "7:05", "Europe/Berlin")
    written = write_starter_files(answers)
    assert {path.relative_to(folder).as_posix() for path in written} == {"settings.toml", "prompts/mara.toml"}
    settings = load_settings(folder / "settings.toml").settings
    assert settings.models.name == SDXL
    assert settings.models.clip != "toybox"
    assert settings.models.variant == "fp16", "half the download"
    assert (settings.schedule.cron, settings.schedule.timezone) == ("5 7 * * *", "Europe/Berlin")
    assert (settings.publishing.publisher, settings.publishing.account) == ("instagram", "mara_daily")
    assert settings.publishing.dry_run
    who = persona.find_persona("mara", folder)
    assert str(who.calendar.zone) == "Europe/Berlin"
    assert {f"{shot.at:%H:%M}" for shot in who.calendar.shots} == {"07:05"}


def test_the_defaults_work_offline_and_publish_nothing(tmp_path: Path) -> None:
    write_starter_files(Answers(tmp_path))
    settings = load_settings(tmp_path / "settings.toml").settings
    assert (settings.models.name, settings.models.clip, settings.publishing.publisher) == ("toybox", "toybox", "folder")
    assert settings.models.variant == "", "nobody knows which weights another model comes with"


def test_nothing_that_is_there_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "prompts").mkdir()
    own = tmp_path / "prompts" / "pip.toml"
    own.write_text("mine")
    assert write_starter_files(Answers(tmp_path)) == [tmp_path / "settings.toml"]
    assert own.read_text() == "mine"
    before = (tmp_path / "settings.toml").read_text()
    with pytest.raises(UserError, match=r"settings\.toml exists already: edit that file"):
        write_starter_files(Answers(tmp_path, persona="kit"))
    assert (tmp_path / "settings.toml").read_text() == before
    assert not (tmp_path / "prompts" / "kit.toml").exists()


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"at": "25:00"}, "'25:00' is no time of day: write it as 09:00"),
        ({"at": "nine"}, "no time of day"),
        ({"zone": "Europe/Berln"}, "settings.toml: schedule.timezone"),
        ({"persona": "../x"}, "cannot be the name of a persona"),
        ({"model": ""}, "settings.toml: models.name"),
        ({"account": "a\nb"}, "characters that cannot be seen"),
    ],
)
def test_a_mistake_leaves_nothing_behind(wrong: dict[str, str], says: str, tmp_path: Path) -> None:
    folder = tmp_path / "new"
    with pytest.raises(UserError, match=says):
        write_starter_files(Answers(folder, **wrong))  # type: ignore[arg-type]
    assert not folder.exists()


@given(text=st.text(st.characters(exclude_categories=["C", "Zl", "Zp", "Zs"]), max_size=20))
def test_whatever_is_typed_is_what_is_read(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("any")
    write_starter_files(Answers(folder, model=f"m{text}"))
    assert load_settings(folder / "settings.toml").settings.models.name == f"m{text}"


def test_without_a_terminal_nothing_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = CliRunner().invoke(app, ["init", "studio", "--persona", "kit", "--at", "06:30"])
    assert run.exit_code == 0, run.output
    assert run.output.splitlines()[-1] == "restage serve"
    assert load_settings(tmp_path / "studio" / "settings.toml").settings.schedule.cron == "30 6 * * *"
    monkeypatch.chdir(tmp_path / "studio")
    assert CliRunner().invoke(app, ["calendar", "kit"]).exit_code == 0


def test_it_says_what_to_do_next() -> None:
    said = next_steps(Answers(Path("x"), "kit", account="kit_daily"), [Path("x/settings.toml")])
    assert said[:2] == ["wrote x/settings.toml", "cd x"]
    assert said[-2:] == ["restage login kit_daily", "restage serve"]


def test_the_machines_own_zone_is_one_that_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    assert local_zone() == "Asia/Tokyo"
    monkeypatch.setenv("TZ", ":nowhere")
    assert "/" in local_zone() or local_zone() == "UTC"
