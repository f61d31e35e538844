"""Rule measure_cost: what searching by features, or by the codes of a batch of reducers, costs."""

from trazo.costs import measure_cost
from trazo.progress import step

wildcards, files, params = snakemake.wildcards, snakemake.input, snakemake.params
with step(snakemake.log[0], f"cost of {wildcards.retrieval} by {wildcards.origin}, {wildcards.batch}"):
    measure_cost(
        queries=files.queries,
        gallery=files.gallery,
        codes=files.get("codes", ""),
        fitted=files.get("fitted", ""),
        sizes=snakemake.output.sizes,
        times=snakemake.output.times,
        study=wildcards.study,
        retrieval=wildcards.retrieval,
        distances=params.distances,
        reducers=params.reducers,
        device=params.device,
        threads=snakemake.threads,
    )
