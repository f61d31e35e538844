"""Rule download_archive: fetch an archive of images."""

from pathlib import Path

from trazo.data.download import fetch
from trazo.progress import status, step

name = f"download {snakemake.wildcards.source}"
with step(snakemake.log[0], name):
    fetch(snakemake.params.url, Path(snakemake.output[0]), progress=status(name))
