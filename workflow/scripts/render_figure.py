"""Rule render_figure: one figure as SVG and PNG, and as a plot that answers when pointed at."""

from pathlib import Path

from trazo.config import Study
from trazo.progress import step
from trazo.report.figures import Material, render_figure

with step(snakemake.log[0], f"figure {snakemake.wildcards.figure}"):
    study = Study.model_validate(snakemake.params.study)
    render_figure(
        figure=study.figures[snakemake.wildcards.figure],
        study=study,
        material=Material.from_paths({kind: list(paths) for kind, paths in snakemake.input.items()}),
        **{kind: Path(path) for kind, path in snakemake.output.items()},
    )
