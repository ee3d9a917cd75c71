"""The table of flows, and how a run finds one."""

import subprocess
import sys

import pytest

from flows import deployments
from flows.deployments import FLOWS


def test_daily_has_a_schedule_for_each_persona_and_publish_one_for_all() -> None:
    assert {each.name: each.scheduled for each in FLOWS if each.scheduled} == {"publish": "together", "daily": "each"}


def test_a_run_finds_its_flow_by_the_name_that_is_registered() -> None:
    from prefect import Flow
    from prefect.flows import load_flow_from_entrypoint

    for each in FLOWS:
        found = load_flow_from_entrypoint(each.entrypoint)
        assert isinstance(found, Flow)
        assert found.name == each.name
        assert found.fn.__annotations__["persona"] == "str", "a run may name personas of other settings"
    with pytest.raises(AttributeError, match="no attribute 'tomorrows'"):
        _ = deployments.tomorrows


@pytest.mark.parametrize("names", [("pip",), ("mara", "pip")])
def test_the_personas_are_a_choice_in_the_form_alone(names: tuple[str, ...]) -> None:
    from prefect.utilities.callables import parameter_schema

    asked = parameter_schema(deployments.flow_for("train", names)).properties["persona"]
    assert (asked["enum"], asked["type"]) == (list(names), "string")
    assert asked["description"].startswith("The name of a file")
    assert "const" not in asked, "a field that nobody can fill in"
    assert deployments.flow_for("train").fn.__annotations__["persona"] == "str"


def test_the_table_itself_costs_nothing() -> None:
    code = "import sys; from flows import deployments as d; d.FLOWS[0].entrypoint; sys.exit('prefect' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
