"""Rule compare_methods: which methods of a retrieval can be told apart."""

from trazo.progress import step
from trazo.retrieval.significance import compare_methods

with step(snakemake.log[0], "compare methods"):
    compare_methods(snakemake.input.rankings, snakemake.input.metrics, snakemake.output.significance)
