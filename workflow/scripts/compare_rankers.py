"""Rule compare_rankers: how far other rankers' lists are from the exact ones."""

from trazo.progress import step
from trazo.retrieval.agreement import compare_rankers

with step(snakemake.log[0], "compare rankers"):
    compare_rankers(snakemake.input.rankings, snakemake.input.metrics, snakemake.output.agreement)
