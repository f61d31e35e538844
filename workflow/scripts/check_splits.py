"""Rule check_splits: make sure that the splits a source gives have no image in common."""

from pathlib import Path

from trazo.config import Dataset
from trazo.data.overlaps import check_splits
from trazo.progress import step

wildcards, params = snakemake.wildcards, snakemake.params
with step(snakemake.log[0], f"splits of {wildcards.dataset}"):
    check_splits(
        source=Path(params.source),
        dataset_name=wildcards.dataset,
        dataset=Dataset.model_validate(params.dataset),
        output=Path(snakemake.output.splits),
        code=params.code,
    )
