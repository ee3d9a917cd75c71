"""What a Prefect server is told, by a real one."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from flows.deployments import DeployedFlow
from tasks.persona.starter_file import write_starter_file
from tasks.settings.settings import LoadedSettings, load_settings

DAILY = DeployedFlow("references", scheduled="each")
"""Any flow serves: a schedule is given to what the table says has one."""


@pytest.fixture
def studio(tmp_path: Path) -> LoadedSettings:
    for name in ("kit", "mara", "pip"):
        (tmp_path / "prompts").mkdir(exist_ok=True)
        (tmp_path / "prompts" / f"{name}.toml").touch()
    return with_schedule(tmp_path, "30 7 * * *", "Europe/Berlin")


def with_schedule(folder: Path, cron: str, zone: str) -> LoadedSettings:
    (folder / "settings.toml").write_text(f'[schedule]\ncron = "{cron}"\ntimezone = "{zone}"\n')
    return load_settings(folder / "settings.toml")


def register(loaded: LoadedSettings, *known: DeployedFlow) -> set[UUID]:
    from flows.serving import prefect_server

    async def all_of_it() -> set[UUID]:
        wanted = prefect_server.deployments_for(loaded, known)
        await prefect_server.prepare_server(wanted)
        ids = {await each.aapply() for each in wanted}
        await prefect_server.delete_stale(ids)
        return ids

    return asyncio.run(all_of_it())


@pytest.fixture
def api(prefect: None) -> Iterator[Any]:
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        yield client
        forget(client)


def forget(client: Any) -> None:
    """The server is all tests' own."""
    from tasks.step import GPU_LIMIT

    for each in client.read_deployments():
        client.delete_deployment(each.id)
    client.delete_global_concurrency_limit_by_name(GPU_LIMIT)


def test_a_form_lets_choose_among_the_personas_that_there_are(studio: LoadedSettings, api: Any) -> None:
    register(studio, DeployedFlow("references"), DeployedFlow("train"))
    for name in ("references", "train"):
        found = api.read_deployment_by_name(f"{name}/by-hand")
        asked = found.parameter_openapi_schema["properties"]
        assert asked["persona"]["enum"] == ["kit", "mara", "pip"]
        assert all(each["description"] for each in asked.values())
        assert asked["settings"]["type"] == "string"
        assert found.entrypoint == f"flows.deployments.{name}"
        assert found.schedules == []
    from prefect.exceptions import PrefectHTTPStatusError

    with pytest.raises(PrefectHTTPStatusError, match="409|422"):
        api.create_flow_run_from_deployment(found.id, parameters={"persona": "pipp"})


def test_the_only_persona_is_chosen_already(studio: LoadedSettings, api: Any) -> None:
    register(studio, DeployedFlow("references"))
    assert api.read_deployment_by_name("references/by-hand").parameters == {}
    for name in ("kit", "mara"):
        (studio.folder / "prompts" / f"{name}.toml").unlink()
    register(studio, DeployedFlow("references"), DeployedFlow("publish"))
    assert api.read_deployment_by_name("references/by-hand").parameters == {"persona": "pip"}
    assert api.read_deployment_by_name("publish/by-hand").parameters == {"dry_run": True}


def test_every_persona_has_a_schedule_of_its_own(studio: LoadedSettings, api: Any) -> None:
    register(studio, DAILY)
    for name in ("kit", "mara", "pip"):
        found = api.read_deployment_by_name(f"references/{name}")
        assert found.parameters == {"persona": name}
        assert found.concurrency_options.collision_strategy == "ENQUEUE"
        assert found.global_concurrency_limit.limit == 1
        (schedule,) = found.schedules
        assert (schedule.schedule.cron, schedule.schedule.timezone) == ("30 7 * * *", "Europe/Berlin")
        assert schedule.active
    assert api.read_deployment_by_name("references/by-hand").schedules == []


def test_a_persona_may_have_a_time_of_its_own(studio: LoadedSettings, api: Any) -> None:
    (studio.folder / "prompts" / "kit.toml").unlink()
    file = write_starter_file("kit", studio.folder)
    file.write_text(file.read_text().replace("[schedule]\n", '[schedule]\ncron = "0 20 * * *"\n'))
    register(studio, DAILY)
    for name, cron in (("kit", "0 20 * * *"), ("pip", "30 7 * * *")):
        (schedule,) = api.read_deployment_by_name(f"references/{name}").schedules
        assert (schedule.schedule.cron, schedule.schedule.timezone) == (cron, "Europe/Berlin")


def test_what_is_approved_goes_out_every_few_minutes_unless_nobody_wants_that(studio: LoadedSettings, api: Any) -> None:
    publish = DeployedFlow("publish", scheduled="together")
    register(studio, publish)
    found = api.read_deployment_by_name("publish/scheduled")
    assert (found.concurrency_options.collision_strategy, found.global_concurrency_limit.limit) == ("CANCEL_NEW", 1)
    (schedule,) = found.schedules
    assert (schedule.schedule.cron, schedule.schedule.timezone) == ("*/10 * * * *", "Europe/Berlin")
    (studio.folder / "settings.toml").write_text('[schedule]\npublish = ""\n')
    register(load_settings(studio.folder / "settings.toml"), publish)
    assert {each.name for each in api.read_deployments()} == {"by-hand"}


def test_by_schedule_it_is_meant_and_by_hand_it_is_tried(studio: LoadedSettings, api: Any) -> None:
    register(studio, DeployedFlow("daily", scheduled="each"), DeployedFlow("publish", scheduled="together"))
    for name, more in (("daily/pip", {"persona": "pip"}), ("publish/scheduled", {}), ("publish/by-hand", {})):
        found = api.read_deployment_by_name(name)
        assert found.parameters == {"dry_run": True} | more
        assert [each.parameters for each in found.schedules] == [{"dry_run": False}][: len(found.schedules)]


def test_what_was_paused_stays_paused_and_the_settings_still_count(studio: LoadedSettings, api: Any) -> None:
    from prefect.client.schemas.actions import DeploymentUpdate

    first = register(studio, DAILY)
    pip = api.read_deployment_by_name("references/pip")
    api.request(
        "PATCH",
        "/deployments/{id}/schedules/{schedule_id}",
        path_params={"id": pip.id, "schedule_id": pip.schedules[0].id},
        json={"active": False},
    )
    kit = api.read_deployment_by_name("references/kit")
    api.update_deployment(kit.id, DeploymentUpdate(paused=True))

    assert register(with_schedule(studio.folder, "5 6 * * *", "UTC"), DAILY) == first
    for name, active, paused in (("pip", False, False), ("kit", True, True), ("mara", True, False)):
        found = api.read_deployment_by_name(f"references/{name}")
        (schedule,) = found.schedules
        assert (schedule.schedule.cron, schedule.schedule.timezone) == ("5 6 * * *", "UTC")
        assert (schedule.active, found.paused) == (active, paused), name


def test_a_schedule_of_ones_own_stays(studio: LoadedSettings, api: Any) -> None:
    from prefect.client.schemas.schedules import CronSchedule

    register(studio, DAILY)
    pip = api.read_deployment_by_name("references/pip")
    extra = {"schedule": CronSchedule(cron="0 20 * * *").model_dump(mode="json"), "active": True, "slug": "evening"}
    api.request("POST", "/deployments/{id}/schedules", path_params={"id": pip.id}, json=[extra])
    register(studio, DAILY)
    found = api.read_deployment_by_name("references/pip").schedules
    assert sorted(each.schedule.cron for each in found) == ["0 20 * * *", "30 7 * * *"]


def test_what_is_gone_is_forgotten_and_what_is_not_ours_stays(studio: LoadedSettings, api: Any) -> None:
    flow = api.create_flow_from_name("somebody else's")
    other = api.create_deployment(flow, "theirs")
    register(studio, DAILY)
    (studio.folder / "prompts" / "kit.toml").unlink()
    ids = register(studio, DAILY)
    assert {each.id for each in api.read_deployments()} == {other, *ids}
    assert len(ids) == 3


def test_the_limit_and_the_automation_are_there_once_and_may_be_changed(studio: LoadedSettings, api: Any) -> None:
    from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate

    from flows.serving.prefect_server import ZOMBIE_AUTOMATION

    register(studio)
    api.update_global_concurrency_limit("gpu", GlobalConcurrencyLimitUpdate(limit=2))
    (found,) = api.read_automations_by_name(ZOMBIE_AUTOMATION)
    api.pause_automation(found.id)
    register(studio)
    assert api.read_global_concurrency_limit_by_name("gpu").limit == 2
    (again,) = api.read_automations_by_name(ZOMBIE_AUTOMATION)
    assert (again.id, again.enabled) == (found.id, False)
    assert again.trigger.posture == "Proactive"
    assert again.actions[0].state == "CRASHED"
