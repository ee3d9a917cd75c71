"""A Prefect server of the tests' own, on loopback and with a home of its own, started once for all that need it."""

import os
from collections.abc import Iterator

import pytest

# Before Prefect reads them: no server of the tests tells anybody that it runs.
os.environ |= {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1"}


@pytest.fixture(scope="session")
def prefect() -> Iterator[None]:
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=120):
        yield
