"""Rule compare_splits: find the images that several of the splits that a source gives have in common."""

from pathlib import Path

from trazo.config import Dataset
from trazo.data.overlaps import compare_splits
from trazo.progress import step

wildcards, params = snakemake.wildcards, snakemake.params
with step(snakemake.log[0], f"splits of {wildcards.dataset}"):
    compare_splits(
        source=Path(params.source),
        dataset_name=wildcards.dataset,
        dataset=Dataset.model_validate(params.dataset),
        output=Path(snakemake.output.comparison),
        code=params.code,
    )
