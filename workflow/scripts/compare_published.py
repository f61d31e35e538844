"""Rule compare_published: every published value beside the measured one."""

from pathlib import Path

from trazo.config import Study
from trazo.progress import step
from trazo.report.comparison import compare

with step(snakemake.log[0], "compare with published values"):
    compare(
        study=Study.model_validate(snakemake.params.study),
        metrics=Path(snakemake.input.metrics),
        timings=Path(snakemake.input.timings),
        departures=snakemake.params.departures,
        published=Path(snakemake.input.published),
        output=Path(snakemake.output.comparison),
    )
