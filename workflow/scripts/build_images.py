"""Rule build_images: turn one split of a dataset into images.h5."""

from pathlib import Path

from trazo.config import Dataset
from trazo.data.images import build_images
from trazo.progress import counter, step

wildcards, params = snakemake.wildcards, snakemake.params
with step(snakemake.log[0], f"images of {wildcards.dataset}/{wildcards.split}"):
    build_images(
        progress=counter("images", "img"),
        source=Path(params.source),
        dataset_name=wildcards.dataset,
        dataset=Dataset.model_validate(params.dataset),
        split=wildcards.split,
        output=Path(snakemake.output.images),
        code=params.code,
        threads=snakemake.threads,
    )
