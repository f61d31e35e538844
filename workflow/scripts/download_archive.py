"""Rule download_archive: fetch an archive of images."""

from pathlib import Path

from trazo.data.download import fetch
from trazo.progress import step

with step(snakemake.log[0], f"download {snakemake.wildcards.archive}"):
    fetch(snakemake.params.url, Path(snakemake.output[0]))
