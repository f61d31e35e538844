"""Rule import_features: read features made elsewhere, check every value, and write features.h5."""

from pathlib import Path

from trazo.data.imports import import_features
from trazo.progress import step

files, wildcards = snakemake.input, snakemake.wildcards
with step(snakemake.log[0], f"import {wildcards.side} of {wildcards.imported}"):
    import_features(
        source=Path(files.source[0]),
        queries=Path(files.queries[0]) if files.queries else None,
        side=wildcards.side,
        output=Path(snakemake.output.features),
        code=snakemake.params.code,
        key={"model": wildcards.imported, "split": wildcards.side},
    )
