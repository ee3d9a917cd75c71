"""Settings: what is in force, where it came from, and the one sentence for every kind of mistake."""

import re
import tomllib
from pathlib import Path

import pytest

from models.system.errors import UserError
from tasks.settings.sections import SecretSettings
from tasks.settings.settings import Settings, load_settings

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "settings.toml").write_text("[rendering]\nsteps = 20\n")
    return tmp_path / "settings.toml"


def row(file: Path, key: str) -> tuple[object, str]:
    return next((value, origin) for name, value, origin in load_settings(file).describe_values() if name == key)


def test_the_shipped_file_has_every_knob_with_its_default_and_a_comment() -> None:
    shipped = REPOSITORY / "settings.toml"
    written = tomllib.loads(shipped.read_text())
    known = {section: values for section, values in Settings().model_dump(mode="json").items() if section != "secrets"}
    assert written == known
    for line in shipped.read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            assert re.search(r"\s# \S", line), f"no comment: {line}"


def test_the_defaults_work_offline_as_a_dry_run(file: Path) -> None:
    settings = load_settings(file).settings
    assert (settings.models.name, settings.models.clip) == ("toybox", "toybox")
    assert (settings.publishing.publisher, settings.publishing.dry_run) == ("folder", True)
    assert settings.review.automatic is False


def test_nearer_sources_win_and_are_named(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert row(file, "rendering.guidance") == (5.0, "default")
    assert row(file, "rendering.steps") == (20, "settings.toml")
    (file.parent / ".env").write_text("RESTAGE_RENDERING__STEPS=30\nOTHER=1\n")
    assert row(file, "rendering.steps") == (30, ".env, RESTAGE_RENDERING__STEPS")
    monkeypatch.setenv("RESTAGE_RENDERING__STEPS", "40")
    assert row(file, "rendering.steps") == (40, "environment, RESTAGE_RENDERING__STEPS")
    assert row(file, "rendering.sampler") == ("euler", "default")


def test_the_settings_file_can_be_elsewhere(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESTAGE_SETTINGS", str(file))
    loaded = load_settings()
    assert loaded.settings.rendering.steps == 20
    assert loaded.studio == file.parent / "studio"


def test_secrets_come_from_files_env_file_or_environment_and_are_never_shown(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (file.parent / "secrets").mkdir()
    (file.parent / "secrets" / "instagram_password").write_text("planted-1\n")
    (file.parent / ".env").write_text("RESTAGE_SECRETS__GRAPH_TOKEN=planted-2\n")
    monkeypatch.setenv("RESTAGE_SECRETS__BOARD_PASSWORD", "planted-3")
    loaded = load_settings(file)
    secrets = loaded.settings.secrets
    found = [secrets.instagram_password, secrets.graph_token, secrets.board_password]
    assert [each.get_secret_value() for each in found if each] == ["planted-1", "planted-2", "planted-3"]
    shown = {name: (value, origin) for name, value, origin in loaded.describe_values() if name.startswith("secrets.")}
    assert shown["secrets.instagram_password"] == ("•••", "secrets/instagram_password")
    assert shown["secrets.graph_token"] == ("•••", ".env, RESTAGE_SECRETS__GRAPH_TOKEN")
    assert shown["secrets.instagram_totp"] == ("not set", "default")
    for text in (
        str(list(loaded.describe_values())),
        repr(loaded),
        str(loaded.settings),
        loaded.settings.model_dump_json(),
    ):
        assert "planted" not in text


def test_a_secret_of_the_wrong_kind_is_not_shown_in_the_error(file: Path) -> None:
    with pytest.raises(UserError, match="secrets must not stand in this file") as caught:
        file.write_text("[secrets]\ngraph_token = 'planted'")
        load_settings(file)
    assert "planted" not in str(caught.value)


def test_every_secret_can_be_set_by_its_variable(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SecretSettings.model_fields:
        monkeypatch.setenv(f"RESTAGE_SECRETS__{name.upper()}", "x")
    assert all(
        value == "•••" for name, value, _ in load_settings(file).describe_values() if name.startswith("secrets.")
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[models]\ndevce = 'a'", "settings.toml: key models.devce is unknown: did you mean models.device?"),
        ("[modls]\na = 1", "settings.toml: section modls is unknown: did you mean models?"),
        ("[models]\ndevice = 'gpu'", "models.device = 'gpu' is not allowed: use auto, cpu, cuda"),
        ("[models]\nprecision = 'fp8'", "models.precision = 'fp8' is not allowed: use one of auto, fp32, fp16, bf16"),
        ("[models]\nname = ''", "models.name = '' is not allowed: use a name that is not empty"),
        ("[models]\nname = 3", "models.name = 3 is not allowed: use a text"),
        ("models = 3", "models = 3 is not allowed: use a section with keys"),
        ("[rendering]\nsteps = 'many'", "rendering.steps = 'many' is not allowed: use a whole number"),
        ("[rendering]\nsteps = 0", "rendering.steps = 0 is not allowed: use 1 or more"),
        ("[rendering]\nguidance = 'high'", "rendering.guidance = 'high' is not allowed: use a number"),
        ("[rendering]\nguidance = 101.0", "rendering.guidance = 101.0 is not allowed: use 100.0 or less"),
        ("[rendering]\nwidth = 1001", "rendering.width = 1001 is not allowed: use a multiple of 8, such as 1000 or 1008"),
        ("[rendering]\nsampler = 'eulr'", "rendering.sampler = 'eulr' is not allowed: use one of euler, euler a"),
        ("[review]\nautomatic = 'perhaps'", "review.automatic = 'perhaps' is not allowed: use true or false"),
        ("[publishing]\npublisher = 'x'", "publishing.publisher = 'x' is not allowed: use one of folder, instagram, graph"),
        ("[publishing]\naccount = '../escaped'", "publishing.account = '../escaped' is not allowed: use the name of an account"),
        ('[publishing]\ndisclosure = "a\\u0000"', "publishing.disclosure holds the unseen character U+0000: take it out"),
        ("[schedule]\ncron = 'daily'", "schedule.cron = 'daily' is not allowed: use five cron fields"),
        ("[schedule]\ntimezone = 'Europe/Berln'", "'Europe/Berln' is not allowed: use the name of a time zone"),
        ("[models", "settings.toml is not valid TOML: "),
    ],
)  # fmt: skip
def test_mistakes_in_the_file(text: str, sentence: str, file: Path) -> None:
    file.write_text(text)
    with pytest.raises(UserError) as caught:
        load_settings(file)
    assert sentence in str(caught.value)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("RESTAGE_RENDERING__STEPS", "x", "environment, RESTAGE_RENDERING__STEPS: rendering.steps = 'x' is not allowed"),
        ("RESTAGE_RENDRING__STEPS", "3", "RESTAGE_RENDRING__STEPS is not a setting: did you mean RESTAGE_RENDERING__STEPS?"),
        ("RESTAGE_MODELS", "{}", "RESTAGE_MODELS is not a setting"),
        ("RESTAGE_ENV_FILE", "/nowhere/.env", "RESTAGE_ENV_FILE names /nowhere/.env, which does not exist"),
        ("RESTAGE_SECRETS_DIR", "/nowhere", "RESTAGE_SECRETS_DIR names /nowhere, which is not a folder"),
    ],
)  # fmt: skip
def test_mistakes_in_the_environment(
    variable: str, value: str, sentence: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(UserError) as caught:
        load_settings(file)
    assert sentence in str(caught.value)


def test_mistakes_in_the_env_file(file: Path) -> None:
    (file.parent / ".env").write_text("RESTAGE_RENDERING__STPS=3\n")
    with pytest.raises(UserError, match=r"\.env: RESTAGE_RENDERING__STPS is not a setting: did you mean .*__STEPS"):
        load_settings(file)


def test_an_env_file_that_is_no_text(file: Path) -> None:
    (file.parent / ".env").write_bytes(b"RESTAGE_X=\xff\xfe")
    with pytest.raises(UserError, match=r"\.env cannot be read .UnicodeDecodeError.: make it a readable UTF-8"):
        load_settings(file)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no settings file at .*none\.toml: go to the folder that has one"):
        load_settings(tmp_path / "none.toml")


def test_paths_are_beside_the_settings(file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "weights.safetensors").touch()
    monkeypatch.chdir("/")
    loaded = load_settings(file)
    assert loaded.studio == tmp_path / "studio"
    assert loaded.resolve_path("weights.safetensors") == str(tmp_path / "weights.safetensors")
    assert loaded.resolve_path("owner/model") == "owner/model"


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://me:planted@host/name",
        "postgresql://me:pl/an?ted@host/name",
        "postgresql://me@host/name?password=planted",
        "mysql://me:planted@host/name",
    ],
)
def test_the_address_of_a_database_may_hold_no_password_in_the_file(address: str, file: Path) -> None:
    file.write_text(f"[storage]\ndatabase = '{address}'\n")
    with pytest.raises(UserError, match=r"storage\.database holds a password: set RESTAGE_SECRETS__DATABASE") as caught:
        load_settings(file)
    assert "planted" not in str(caught.value)


def test_the_secret_address_of_a_database_comes_first(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings(file).database.get_secret_value() == ""
    file.write_text("[storage]\ndatabase = 'postgresql://me@host:5432/name'\n")
    assert load_settings(file).database.get_secret_value() == "postgresql://me@host:5432/name"
    monkeypatch.setenv("RESTAGE_SECRETS__DATABASE", "postgresql://me:planted@host/name")
    loaded = load_settings(file)
    assert loaded.database.get_secret_value() == "postgresql://me:planted@host/name"
    assert "planted" not in f"{loaded!r} {loaded.database} {list(loaded.describe_values())}"
