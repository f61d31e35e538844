"""Rule map_features: lay the features of one split out on a plane, and measure how far the map can be trusted."""

from trazo.maps.embedding import map_features
from trazo.progress import step

wildcards, params = snakemake.wildcards, snakemake.params
with step(snakemake.log[0], f"map {wildcards.map} of {wildcards.origin}"):
    map_features(
        features=snakemake.input.features,
        output=snakemake.output.map,
        metrics=snakemake.output.metrics,
        study=wildcards.study,
        name=wildcards.map,
        settings=params.settings,
        code=params.code,
    )
