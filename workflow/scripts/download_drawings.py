"""Rule download_drawings: fetch one QuickDraw category."""

from pathlib import Path

from trazo.data.download import fetch, quickdraw_url
from trazo.progress import status, step

name = f"download {snakemake.wildcards.category}"
with step(snakemake.log[0], name):
    fetch(
        quickdraw_url(snakemake.params.url, snakemake.wildcards.category),
        Path(snakemake.output[0]),
        progress=status(name),
    )
