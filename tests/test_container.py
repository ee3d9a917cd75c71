"""The image and the services: what a machine can check without building them."""

import fnmatch
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).parents[1]
DOCKERFILE = (REPOSITORY / "Dockerfile").read_text()
PINNED = re.compile(r"[\w./-]+:(?!latest)[\w.-]*\d[\w.-]*")


def instructions() -> list[tuple[str, str]]:
    """(instruction, rest) of the Dockerfile, lines joined and comments left out."""
    text = re.sub(r"^\s*#.*\n", "", DOCKERFILE, flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines if line.strip())]


def of(word: str) -> list[str]:
    return [rest for found, rest in instructions() if found == word]


def compose() -> dict[str, Any]:
    found = yaml.safe_load((REPOSITORY / "compose.yaml").read_text())
    assert isinstance(found, dict)
    return found


def test_the_base_is_pinned_and_slim() -> None:
    (base,) = of("FROM")
    assert PINNED.fullmatch(base)
    assert "slim" in base
    requires = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["requires-python"]
    assert requires == ">=3.11"
    assert base.startswith("python:3.11")


def test_everything_that_is_copied_is_there_and_reaches_the_build() -> None:
    ignore = [line for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert ignore[0] == "*", "what nobody names stays out"
    let_in = {line[1:] for line in ignore if line.startswith("!")}
    copied = [source for rest in of("COPY") for source in rest.split()[:-1] if not source.startswith("--")]
    assert len(copied) >= 9
    for source in copied:
        assert (REPOSITORY / source).exists(), source
        assert source in let_in, source
    packages = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]
    for pattern in packages["include"]:
        assert any(fnmatch.fnmatch(source, pattern) for source in copied), pattern


def test_requirements_come_before_the_code() -> None:
    order = [f"{word} {rest}" for word, rest in instructions()]
    installed = next(i for i, line in enumerate(order) if "--require-hashes" in line)
    code = next(i for i, line in enumerate(order) if line.startswith("COPY models"))
    requirements = next(i for i, line in enumerate(order) if line.startswith("COPY requirements.txt"))
    assert requirements < installed < code


def test_it_installs_as_the_makefile_does() -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    version = re.search(r"UV_VERSION = (\S+)", makefile)
    assert version is not None
    assert f"uv=={version[1]}" in DOCKERFILE


def test_it_runs_as_an_ordinary_user() -> None:
    assert of("USER") == ["restage"]
    after = [word for word, _ in instructions()]
    assert "RUN" not in after[after.index("USER") :]


def test_it_can_be_watched_and_stopped() -> None:
    (health,) = of("HEALTHCHECK")
    assert '"restage", "status"' in health
    assert of("ENTRYPOINT") == ['["tini", "--"]'], "or SIGTERM would not reach what runs"
    assert of("CMD") == ['["restage", "serve"]']
    assert of("VOLUME") == ['["/srv/restage/studio", "/srv/restage/cache"]']


def test_nothing_secret_is_in_it() -> None:
    assert not re.search(r"(?i)(password|token|secret)\s*=", DOCKERFILE)
    assert "://" not in re.sub(r"#.*", "", DOCKERFILE)


@pytest.mark.parametrize("name", ["database", "prefect", "restage"])
def test_every_service_is_pinned_watched_and_closed(name: str) -> None:
    service = compose()["services"][name]
    assert PINNED.fullmatch(service["image"])
    assert service["restart"] == "unless-stopped"
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    assert not any("PASSWORD" in key and not key.endswith("_FILE") for key in service.get("environment", {}))
    if name != "restage":  # whose health check is in the image
        assert service["healthcheck"]["test"]


def test_what_the_services_use_is_defined() -> None:
    found = compose()
    for service in found["services"].values():
        assert set(service.get("secrets", [])) <= set(found["secrets"])
        assert set(service.get("depends_on", {})) <= set(found["services"])
        assert {each["source"] for each in service.get("configs", [])} <= set(found["configs"])
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            if source.startswith("./"):
                assert (REPOSITORY / source).exists(), source
            else:
                assert source in found["volumes"]


def test_prefect_has_the_database_that_it_is_told_of() -> None:
    found = compose()
    (config,) = found["services"]["database"]["configs"]
    assert config["target"].startswith("/docker-entrypoint-initdb.d/"), "where a new database looks for what to do"
    made = re.fullmatch(r"CREATE DATABASE (\w+) OWNER restage;", found["configs"][config["source"]]["content"])
    assert made is not None
    assert f"@database/{made[1]}" in " ".join(found["services"]["prefect"]["command"])


def test_prefect_cleans_up_and_remembers_in_containers_as_well() -> None:
    from flows.serving.serve import PREFECT_DEFAULTS

    said = compose()["services"]["prefect"]["environment"]
    kept = {name: value for name, value in PREFECT_DEFAULTS.items() if "VACUUM" in name or "LEASE" in name}
    assert len(kept) == 3
    assert kept.items() <= said.items()


def test_the_settings_and_secrets_of_the_services_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tasks.settings.settings import load_settings

    service = compose()["services"]["restage"]
    for key, value in service["environment"].items():
        if key.startswith("RESTAGE_"):
            monkeypatch.setenv(key, value)
    assert service["environment"]["RESTAGE_SECRETS_DIR"] == "/run/secrets"
    monkeypatch.setenv("RESTAGE_SECRETS_DIR", str(tmp_path))
    for name in service["secrets"]:
        (tmp_path / name).write_text(f"{name}\n")
    loaded = load_settings(REPOSITORY / "settings.toml")
    assert loaded.settings.board.host == "0.0.0.0"
    held = {name: value for name, value in loaded.settings.secrets if value}
    assert {name: value.get_secret_value() for name, value in held.items()} == {
        each: each for each in service["secrets"]
    }


def test_the_work_pool_file_names_flows_and_parameters_that_there_are() -> None:
    from flows import deployments

    found = yaml.safe_load((REPOSITORY / "prefect.yaml").read_text())["deployments"]
    names = [each["entrypoint"].rpartition(".")[2] for each in found]
    assert set(names) == {each.name for each in deployments.FLOWS}
    for each, name in zip(found, names, strict=True):
        assert each["work_pool"]["name"] == "restage"
        assert each["entrypoint"] == f"flows.deployments.{name}"
        known = deployments.flow_for(name).parameters.properties
        assert set(each.get("parameters", {})) <= set(known)
