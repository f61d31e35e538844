"""Rule collect_training: how every stage learned, epoch by epoch, and how long it took."""

from trazo.progress import step
from trazo.report.training import collect_training

with step(snakemake.log[0], "collect training"):
    collect_training(
        snakemake.input.histories,
        study=snakemake.wildcards.study,
        data=snakemake.params.data,
        times=snakemake.input.times,
        training=snakemake.output.training,
        timings=snakemake.output.timings,
    )
