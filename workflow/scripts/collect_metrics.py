"""Rule collect_metrics: all metrics of a study in one tidy file."""

from pathlib import Path

from trazo.progress import step
from trazo.report.metrics import collect

files = snakemake.input
with step(snakemake.log[0], "collect metrics"):
    collect(
        [Path(part) for part in (*files.rankings, *files.classifications, *files.maps, *files.sizes, files.training)],
        Path(snakemake.output.metrics),
        significance=Path(files.significance),
    )
