"""Snakemake, but for its patience: it asks SLURM every second how jobs do.

By itself the executor waits ten seconds longer after every question in vain: well for jobs of hours, long for seconds.
"""

import asyncio

from snakemake.cli import main
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor


async def sleep_briefly(executor: RemoteExecutor) -> None:
    """Wait between two questions."""
    await asyncio.sleep(1)


if __name__ == "__main__":
    RemoteExecutor.sleep = sleep_briefly
    main()
