"""Rule download_drawings: fetch one QuickDraw category."""

from pathlib import Path

from trazo.data.download import fetch, quickdraw_url
from trazo.progress import step

with step(snakemake.log[0], f"download {snakemake.wildcards.category}"):
    fetch(quickdraw_url(snakemake.params.url, snakemake.wildcards.category), Path(snakemake.output[0]))
