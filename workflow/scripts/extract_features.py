"""Rule extract_features: compute the features of one split with a trained network."""

from trazo.features import extract_features
from trazo.progress import step

wildcards, params = snakemake.wildcards, snakemake.params
key = {name: wildcards[name] for name in ("model", "stage", "dataset", "split")}
with step(snakemake.log[0], f"features of {wildcards.dataset}/{wildcards.split} by {wildcards.model}"):
    extract_features(
        images=snakemake.input.images,
        checkpoint=snakemake.input.checkpoint,
        output=snakemake.output.features,
        epoch=int(wildcards.epoch),
        layer=params.layer,
        domain=params.domain,
        code=params.code,
        key={**key, "epoch": int(wildcards.epoch), "seed": int(wildcards.seed)},
        device=params.device,
        threads=snakemake.threads,
        workers=snakemake.resources.workers,
    )
