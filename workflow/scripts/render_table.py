"""Rule render_table: one table as CSV, Markdown and LaTeX."""

from pathlib import Path

from trazo.config import Study
from trazo.progress import step
from trazo.report.tables import render_table

with step(snakemake.log[0], f"table {snakemake.wildcards.table}"):
    study = Study.model_validate(snakemake.params.study)
    render_table(
        table=study.tables[snakemake.wildcards.table],
        study=study,
        metrics=Path(snakemake.input.metrics),
        timings=Path(snakemake.input.timings),
        published=Path(snakemake.input.published),
        significance=Path(snakemake.input.significance),
        caveat=snakemake.params.caveat,
        **{kind: Path(path) for kind, path in snakemake.output.items()},
    )
