"""Rule draw_doodles: draw the embedded animals into .bin files, one a category."""

from pathlib import Path

from trazo.data.doodles import write_doodles
from trazo.progress import step

with step(snakemake.log[0], "draw doodles"):
    write_doodles(Path(snakemake.output[0]), **snakemake.params.doodles)
