"""A SLURM for the tests of this folder."""

import os
from collections.abc import Iterator

import pytest

from tests.slurm.cluster import Cluster, NoSlurm, find_programs


@pytest.fixture(scope="session")
def cluster(request) -> Iterator[Cluster]:
    """A running SLURM of one node; skips, and says why, where there is none and none can be downloaded."""
    if os.environ.get("TRAZO_TEST_SLURM") == "0":
        pytest.skip("TRAZO_TEST_SLURM=0 asks for no SLURM")
    try:
        programs = find_programs(request.config.cache.mkdir("slurm"))
    except NoSlurm as reason:
        pytest.skip(f"no SLURM: {reason}")
    try:
        running = Cluster(programs)
    except (AssertionError, OSError) as reason:
        if os.environ.get("TRAZO_TEST_SLURM") == "1":
            raise
        pytest.skip(f"SLURM does not start here (TRAZO_TEST_SLURM=1 makes that a failure): {reason}")
    yield running
    running.stop()
