"""What `restage serve` tells a Prefect server: the deployments, the limit on the GPU, and who buries dead runs.

Said again at every start, so it must change nothing that somebody has chosen on Prefect's page.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate, GlobalConcurrencyLimitCreate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy, StateType
from prefect.client.schemas.schedules import CronSchedule
from prefect.deployments.runner import RunnerDeployment
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.exceptions import ObjectNotFound

from flows import deployments
from tasks.calendar import daily_runs
from tasks.persona import persona
from tasks.settings.settings import Loaded
from tasks.step import GPU

if TYPE_CHECKING:
    from prefect import Flow

TAG = "restage"
SLUG = "settings"
"""The schedule that comes from the settings. Only this one is brought up to date; others on Prefect's page stay."""
SILENCE = timedelta(seconds=120)
"""Four missed heartbeats, one every thirty seconds: by then the process of a run is gone."""
ZOMBIES = "restage: end runs whose process is gone"
MOST = 200
ENDS = ("Completed", "Failed", "Cancelled", "Crashed")


def wanted(loaded: Loaded, known: Sequence[deployments.Known] | None = None) -> list[RunnerDeployment]:
    """Every flow once to be started by hand, and what has a schedule once more, or once for every persona."""
    names = tuple(persona.names(loaded.folder))
    found = []
    for each in deployments.known() if known is None else known:
        flow = deployments.flow(each.name, names)
        found.append(_by_hand(flow, each, names))
        if each.scheduled == "each":
            found += [_daily(flow, each, name, loaded) for name in names]
        elif each.scheduled == "together" and loaded.settings.schedule.publish:
            found.append(_together(flow, each, loaded))
    return found


def _by_hand(flow: Flow[..., Any], known: deployments.Known, names: Sequence[str]) -> RunnerDeployment:
    """Who starts something by hand tries it first. A persona that is the only one need not be chosen."""
    asked, said = flow.parameters.properties, dict[str, Any]()
    if "dry_run" in asked:
        said["dry_run"] = True
    if len(names) == 1 and "default" not in asked.get("persona", {"default": ""}):
        said["persona"] = names[0]
    return _made(flow, known, deployments.BY_HAND, parameters=said)


def _daily(flow: Flow[..., Any], known: deployments.Known, name: str, loaded: Loaded) -> RunnerDeployment:
    """A persona's own, one run at a time; another that is due waits."""
    wait = ConcurrencyLimitStrategy.ENQUEUE
    return _scheduled(flow, known, name, daily_runs.daily(name, loaded), wait, {"persona": name})


def _together(flow: Flow[..., Any], known: deployments.Known, loaded: Loaded) -> RunnerDeployment:
    """For all personas, every few minutes: one that would start while another runs is dropped."""
    knobs = loaded.settings.schedule
    drop = ConcurrencyLimitStrategy.CANCEL_NEW
    return _scheduled(flow, known, deployments.SCHEDULED, daily_runs.Times(knobs.publish, knobs.timezone), drop, {})


def _scheduled(
    flow: Flow[..., Any],
    known: deployments.Known,
    name: str,
    when: daily_runs.Times,
    collision: ConcurrencyLimitStrategy,
    said: dict[str, Any],
) -> RunnerDeployment:
    """By schedule no dry run but the one of the settings; who starts it by hand tries it first, as everywhere."""
    schedule = CronSchedule(cron=when.cron, timezone=when.timezone)
    asked = flow.parameters.properties
    by_hand, by_schedule = ({"dry_run": dry} if "dry_run" in asked else {} for dry in (True, False))
    return _made(
        flow,
        known,
        name,
        parameters=said | by_hand,
        # Whether the schedule is active is not said here, so that one paused on Prefect's page stays paused.
        schedules=[DeploymentScheduleCreate(schedule=schedule, slug=SLUG, parameters=by_schedule)],
        concurrency_limit=ConcurrencyLimitConfig(limit=1, collision_strategy=collision),
    )


def _made(flow: Flow[..., Any], known: deployments.Known, name: str, **more: Any) -> RunnerDeployment:
    made = RunnerDeployment.from_flow(flow, name=name, tags=[TAG], **more)
    made.entrypoint = known.entrypoint
    return made


async def prepare(wanted: Sequence[RunnerDeployment]) -> None:
    """The limit on the GPU and the end of dead runs, where they are not there already; and what is paused stays so."""
    async with get_client() as client:
        await _limit(client)
        await _bury_the_dead(client)
        for each in wanted:
            with suppress(ObjectNotFound):
                each.paused = (await client.read_deployment_by_name(each.full_name)).paused


async def forget(keep: set[UUID]) -> None:
    """Take away deployments of ours whose persona or flow is gone: nobody would ever start their runs."""
    async with get_client() as client:
        ours = DeploymentFilter(tags=DeploymentFilterTags(all_=[TAG]))
        for each in await client.read_deployments(deployment_filter=ours, limit=MOST):
            if each.id not in keep:
                await client.delete_deployment(each.id)


async def _limit(client: PrefectClient) -> None:
    try:
        await client.read_global_concurrency_limit_by_name(GPU)
    except ObjectNotFound:
        await client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=GPU, limit=1))


async def _bury_the_dead(client: PrefectClient) -> None:
    """A run that is killed together with its runner would stay Running for ever and hold its place."""
    if await client.read_automations_by_name(ZOMBIES):
        return
    trigger = EventTrigger(
        posture=Posture.Proactive,
        after={"prefect.flow-run.heartbeat"},
        expect={"prefect.flow-run.heartbeat", *(f"prefect.flow-run.{end}" for end in ENDS)},
        match={"prefect.resource.id": ["prefect.flow-run.*"]},
        for_each={"prefect.resource.id"},
        threshold=1,
        within=SILENCE,
    )
    message = "No sign of life for two minutes: the process is gone. What it finished is kept; start it again."
    end = ChangeFlowRunState(name="Crashed", state=StateType.CRASHED, message=message, force=False)
    await client.create_automation(AutomationCore(name=ZOMBIES, description=message, trigger=trigger, actions=[end]))
