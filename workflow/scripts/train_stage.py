"""Rule train_stage: train one stage of a model."""

from trazo.progress import step
from trazo.training.loop import train_stage

files, wildcards, params = snakemake.input, snakemake.wildcards, snakemake.params
with step(snakemake.log[0], f"train {wildcards.model} {wildcards.stage}"):
    train_stage(
        images=files.images,
        validation=files.validation[0] if files.validation else None,
        previous=files.previous[0] if files.previous else None,
        weights=files.weights[0] if files.weights else None,
        output=snakemake.output.checkpoint,
        history=snakemake.output.history,
        model=params.model,
        stage=wildcards.stage,
        seed=int(wildcards.seed),
        code=params.code,
        key={"model": wildcards.model, "stage": wildcards.stage, "seed": int(wildcards.seed)},
        device=params.device,
        threads=snakemake.threads,
    )
