"""Rule rank_gallery: search a gallery for all queries; every metric and the nearest items."""

from trazo.progress import step
from trazo.retrieval.gallery import rank_gallery

wildcards, params = snakemake.wildcards, snakemake.params
ways = ", ".join(part for part in (wildcards.reducer, wildcards.distance, wildcards.ranker) if part != "none")
title = f"rank {wildcards.retrieval} by {wildcards.origin}, {ways}"
with step(snakemake.log[0], title):
    rank_gallery(
        queries=snakemake.input.queries,
        gallery=snakemake.input.gallery,
        codes=list(snakemake.input.codes),
        reducer=wildcards.reducer,
        ranking=snakemake.output.ranking,
        metrics=snakemake.output.metrics,
        study=wildcards.study,
        retrieval=wildcards.retrieval,
        distance=wildcards.distance,
        ranker=params.ranker["ranker"],
        settings={**params.retrieval, "rerank": params.ranker["rerank"]},
        code=params.code,
        device=params.device,
        memory_mib=params.memory_mib,
        threads=snakemake.threads,
    )
