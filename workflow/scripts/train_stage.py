"""Rule train_stage: train one stage of a model."""

from trazo.progress import step
from trazo.training.loop import train_stage

files, wildcards, params = snakemake.input, snakemake.wildcards, snakemake.params
with step(snakemake.log[0], f"train {wildcards.model} {wildcards.stage}"):
    train_stage(
        images=list(files.images),
        validation=list(files.validation) or None,
        previous=files.previous[0] if files.previous else None,
        weights=list(files.weights),
        domains=params.domains,
        validation_domains=params.validation_domains,
        output=snakemake.output.checkpoint,
        history=snakemake.output.history,
        model=params.model,
        stage=wildcards.stage,
        seed=int(wildcards.seed),
        code=params.code,
        key={"model": wildcards.model, "stage": wildcards.stage, "seed": int(wildcards.seed)},
        device=params.device,
        threads=snakemake.threads,
        workers=snakemake.resources.workers,
    )
