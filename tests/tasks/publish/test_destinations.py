"""Publishers and rules as the settings name them."""

from datetime import time, timedelta
from pathlib import Path
from typing import get_args

import pytest

from models.system.errors import UserError
from tasks.publish.destinations import ConfiguredDestinations, rules
from tasks.publishers import PUBLISHER_NAMES, PUBLISHERS
from tasks.publishers.graph.kind import picture_hosting
from tasks.publishers.graph.picture_hosting import Bucket, FolderHosting
from tasks.settings.sections import PublishingSettings
from tasks.settings.settings import LoadedSettings, load_settings


def loaded(folder: Path, text: str = "", **secrets: str) -> LoadedSettings:
    (folder / "settings.toml").write_text(f"[publishing]\n{text}")
    (folder / "secrets").mkdir(exist_ok=True)
    for name, value in secrets.items():
        (folder / "secrets" / name).write_text(value)
    return load_settings(folder / "settings.toml")


@pytest.mark.parametrize(
    ("text", "dry", "name"),
    [
        ("", False, "folder"),
        ('publisher = "instagram"', False, "folder"),
        ('publisher = "instagram"\ndry_run = false', False, "instagram"),
        ('publisher = "graph"\ndry_run = false', False, "graph"),
        ('publisher = "graph"\ndry_run = false', True, "folder"),
    ],
)
def test_a_dry_run_goes_to_the_folder_whatever_else_is_said(tmp_path: Path, text: str, dry: bool, name: str) -> None:
    assert ConfiguredDestinations(loaded(tmp_path, text), dry).name == name


def test_the_settings_know_every_kind() -> None:
    assert get_args(PublishingSettings.model_fields["publisher"].annotation) == PUBLISHER_NAMES
    assert [kind.name for kind in PUBLISHERS if kind.log_in or kind.renew_token] == ["instagram", "graph"]


def test_each_is_made_for_its_account(tmp_path: Path) -> None:
    said = 'graph_user = "41"\npicture_address = "https://p.example/{name}"\npicture_folder = "public"'
    outlets = ConfiguredDestinations(loaded(tmp_path, said, graph_token="t"))
    for name in ("folder", "instagram", "graph"):
        made = outlets.open(name, "pip_daily")
        assert (made.name, made.account) == (name, "pip_daily")
    with pytest.raises(UserError, match=r"set publishing\.account"):
        outlets.open("folder", "")


@pytest.mark.parametrize(
    ("text", "secrets", "match"),
    [
        ("", {}, "graph_user"),
        ('graph_user = "41"', {}, "GRAPH_TOKEN"),
        ('graph_user = "41"', {"graph_token": "t"}, "picture_address"),
        ('graph_user = "41"\nbucket_endpoint = "https://s3.example"\nbucket = "b"', {"graph_token": "t"}, "STORAGE_ACCESS"),
    ],
)  # fmt: skip
def test_what_graph_needs_is_said(tmp_path: Path, text: str, secrets: dict[str, str], match: str) -> None:
    with pytest.raises(UserError, match=match):
        ConfiguredDestinations(loaded(tmp_path, text, **secrets)).open("graph", "pip_daily")


def test_pictures_are_hosted_in_a_folder_or_a_bucket(tmp_path: Path) -> None:
    site = 'picture_address = "https://p.example/{name}"\npicture_folder = "public"'
    assert picture_hosting(loaded(tmp_path, site)) == FolderHosting("https://p.example/{name}", tmp_path / "public")
    bucket = 'bucket_endpoint = "https://s3.example"\nbucket = "b"\nbucket_region = "eu-1"'
    made = picture_hosting(loaded(tmp_path, bucket, storage_access="a", storage_secret="planted"))
    assert isinstance(made, Bucket) and (made.bucket, made.region, made.keys.access) == ("b", "eu-1", "a")
    assert "planted" not in repr(made)


def test_rules_are_those_of_the_settings_and_a_folder_knows_no_hours(tmp_path: Path) -> None:
    said = 'daily_cap = 3\nspacing_minutes = 15\nquiet_hours = "22:00-07:00"\nlate_days = 2\ndisclosure = "AI"\nresend = true'
    settings = loaded(tmp_path, said)
    found = rules(settings, "instagram")
    assert (found.pace.daily_cap, found.pace.spacing) == (3, timedelta(minutes=15))
    assert (found.pace.quiet, found.pace.late) == ((time(22), time(7)), timedelta(days=2))
    assert (found.wanted.caption, found.wanted.inside, found.resend) == ("AI", True, True)
    folder = rules(settings, "folder").pace
    assert (folder.daily_cap, folder.spacing, folder.quiet, folder.late) == (0, timedelta(0), None, timedelta(days=2))
    assert rules(settings, "instagram", at_once=True).pace == found.pace.at_once


@pytest.mark.parametrize("hours", ["22-7", "22:00-22:00", "25:00-07:00", "night"])
def test_quiet_hours_that_are_none_are_told(tmp_path: Path, hours: str) -> None:
    with pytest.raises(UserError, match="quiet_hours = .* use two times of day such as 22:00-07:00"):
        loaded(tmp_path, f'quiet_hours = "{hours}"')
