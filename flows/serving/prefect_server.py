"""What `restage serve` sets up on a Prefect server: the deployments, the GPU limit, and the automation that ends dead runs.

It runs at every start, so it must not change anything that somebody has chosen on Prefect's page.
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
from tasks.settings.settings import LoadedSettings
from tasks.step import GPU_LIMIT

if TYPE_CHECKING:
    from prefect import Flow

TAG = "restage"
SCHEDULE_SLUG = "settings"
"""Name of the schedule that comes from the settings. Only this one is updated; others on Prefect's page stay."""
MAX_SILENCE = timedelta(seconds=120)
"""Four missed heartbeats, one every thirty seconds: by then the process of the run is gone."""
ZOMBIE_AUTOMATION = "restage: end runs whose process is gone"
MAX_DEPLOYMENTS = 200
END_STATES = ("Completed", "Failed", "Cancelled", "Crashed")


def deployments_for(
    loaded: LoadedSettings, flows: Sequence[deployments.DeployedFlow] = deployments.FLOWS
) -> list[RunnerDeployment]:
    """List a manual deployment of every flow, and scheduled ones: one in all, or one for every persona."""
    names = tuple(persona.persona_names(loaded.folder))
    runner_deployments = []
    for deployed in flows:
        flow = deployments.flow_for(deployed.name, names)
        runner_deployments.append(_manual_deployment(flow, deployed, names))
        if deployed.scheduled == "each":
            runner_deployments += [_daily_deployment(flow, deployed, name, loaded) for name in names]
        elif deployed.scheduled == "together" and loaded.settings.schedule.publish:
            runner_deployments.append(_shared_deployment(flow, deployed, loaded))
    return runner_deployments


def _manual_deployment(
    flow: Flow[..., Any], deployed: deployments.DeployedFlow, names: Sequence[str]
) -> RunnerDeployment:
    """Build a deployment for runs started by hand: dry by default, and with the persona filled in if there is only one."""
    parameters, defaults = flow.parameters.properties, dict[str, Any]()
    if "dry_run" in parameters:
        defaults["dry_run"] = True
    if len(names) == 1 and "default" not in parameters.get("persona", {"default": ""}):
        defaults["persona"] = names[0]
    return _new_deployment(flow, deployed, deployments.BY_HAND, parameters=defaults)


def _daily_deployment(
    flow: Flow[..., Any], deployed: deployments.DeployedFlow, name: str, loaded: LoadedSettings
) -> RunnerDeployment:
    """Build the daily deployment of one persona. Only one run at a time; the next one waits."""
    wait = ConcurrencyLimitStrategy.ENQUEUE
    return _scheduled_deployment(flow, deployed, name, daily_runs.daily_schedule(name, loaded), wait, {"persona": name})


def _shared_deployment(
    flow: Flow[..., Any], deployed: deployments.DeployedFlow, loaded: LoadedSettings
) -> RunnerDeployment:
    """Build the deployment for all personas, every few minutes. A run that would overlap another is dropped."""
    schedule = loaded.settings.schedule
    drop = ConcurrencyLimitStrategy.CANCEL_NEW
    return _scheduled_deployment(
        flow, deployed, deployments.SCHEDULED, daily_runs.CronSchedule(schedule.publish, schedule.timezone), drop, {}
    )


def _scheduled_deployment(
    flow: Flow[..., Any],
    deployed: deployments.DeployedFlow,
    name: str,
    times: daily_runs.CronSchedule,
    collision: ConcurrencyLimitStrategy,
    parameters: dict[str, Any],
) -> RunnerDeployment:
    """Build a scheduled deployment. Its scheduled runs follow the settings; runs started by hand are dry by default."""
    schedule = CronSchedule(cron=times.cron, timezone=times.timezone)
    flow_parameters = flow.parameters.properties
    by_hand, by_schedule = ({"dry_run": dry} if "dry_run" in flow_parameters else {} for dry in (True, False))
    return _new_deployment(
        flow,
        deployed,
        name,
        parameters=parameters | by_hand,
        # `active` is not set here, so that a schedule paused on Prefect's page stays paused.
        schedules=[DeploymentScheduleCreate(schedule=schedule, slug=SCHEDULE_SLUG, parameters=by_schedule)],
        concurrency_limit=ConcurrencyLimitConfig(limit=1, collision_strategy=collision),
    )


def _new_deployment(
    flow: Flow[..., Any], deployed: deployments.DeployedFlow, name: str, **more: Any
) -> RunnerDeployment:
    deployment = RunnerDeployment.from_flow(flow, name=name, tags=[TAG], **more)
    deployment.entrypoint = deployed.entrypoint
    return deployment


async def prepare_server(runner_deployments: Sequence[RunnerDeployment]) -> None:
    """Create the GPU limit and the zombie automation if they are missing, and keep paused deployments paused."""
    async with get_client() as client:
        await _create_gpu_limit(client)
        await _create_zombie_automation(client)
        for deployment in runner_deployments:
            with suppress(ObjectNotFound):
                deployment.paused = (await client.read_deployment_by_name(deployment.full_name)).paused


async def delete_stale(keep: set[UUID]) -> None:
    """Delete our deployments whose persona or flow is gone: nothing would ever start their runs."""
    async with get_client() as client:
        ours = DeploymentFilter(tags=DeploymentFilterTags(all_=[TAG]))
        for deployment in await client.read_deployments(deployment_filter=ours, limit=MAX_DEPLOYMENTS):
            if deployment.id not in keep:
                await client.delete_deployment(deployment.id)


async def _create_gpu_limit(client: PrefectClient) -> None:
    try:
        await client.read_global_concurrency_limit_by_name(GPU_LIMIT)
    except ObjectNotFound:
        await client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=GPU_LIMIT, limit=1))


async def _create_zombie_automation(client: PrefectClient) -> None:
    """Create the automation that ends runs killed with their runner, which would stay Running and hold the GPU."""
    if await client.read_automations_by_name(ZOMBIE_AUTOMATION):
        return
    trigger = EventTrigger(
        posture=Posture.Proactive,
        after={"prefect.flow-run.heartbeat"},
        expect={"prefect.flow-run.heartbeat", *(f"prefect.flow-run.{end}" for end in END_STATES)},
        match={"prefect.resource.id": ["prefect.flow-run.*"]},
        for_each={"prefect.resource.id"},
        threshold=1,
        within=MAX_SILENCE,
    )
    message = "No sign of life for two minutes: the process is gone. What it finished is kept; start it again."
    end = ChangeFlowRunState(name="Crashed", state=StateType.CRASHED, message=message, force=False)
    await client.create_automation(
        AutomationCore(name=ZOMBIE_AUTOMATION, description=message, trigger=trigger, actions=[end])
    )
