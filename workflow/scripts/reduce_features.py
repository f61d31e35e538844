"""Rule reduce_features: fit reducers on a gallery's features, all or those of other folds; codes of both sides."""

from trazo.progress import step
from trazo.reducers.codes import reduce_features

wildcards, params = snakemake.wildcards, snakemake.params
title = f"reduce {wildcards.origin} by {wildcards.batch} for {wildcards.retrieval}, {wildcards.part}"
with step(snakemake.log[0], title):
    reduce_features(
        queries=snakemake.input.queries,
        gallery=snakemake.input.gallery,
        codes=snakemake.output.codes,
        fitted=snakemake.output.fitted,
        reducers=params.reducers,
        retrieval=wildcards.retrieval,
        batch=wildcards.batch,
        folds=params.folds,
        fold=params.fold,
        code=params.code,
        threads=snakemake.threads,
    )
