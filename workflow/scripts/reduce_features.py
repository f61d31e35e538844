"""Rule reduce_features: fit a reducer on a gallery's features; the codes of queries and gallery."""

from trazo.progress import step
from trazo.reducers.codes import reduce_features

wildcards, params = snakemake.wildcards, snakemake.params
with step(snakemake.log[0], f"reduce {wildcards.origin} by {wildcards.reducer} for {wildcards.retrieval}"):
    reduce_features(
        queries=snakemake.input.queries,
        gallery=snakemake.input.gallery,
        output_queries=snakemake.output.queries,
        output_gallery=snakemake.output.gallery,
        reducer=params.reducer,
        retrieval=wildcards.retrieval,
        code=params.code,
        threads=snakemake.threads,
    )
