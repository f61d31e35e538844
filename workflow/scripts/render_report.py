"""Rule render_report: the page that shows a study."""

from pathlib import Path

from trazo.config import Settings, Study
from trazo.progress import step
from trazo.report.page import render_page
from trazo.report.story import commit_of_code

files, params = snakemake.input, snakemake.params
with step(snakemake.log[0], "report"):
    render_page(
        study=Study.model_validate(params.study),
        original=Study.model_validate(params.original),
        settings=Settings.model_validate(params.settings),
        sources=params.sources,
        metrics=Path(files.metrics),
        timings=Path(files.timings),
        comparison=Path(files.comparison),
        significance=Path(files.significance),
        agreement=Path(files.agreement[0]) if files.agreement else None,
        tables=[Path(path) for path in files.tables],
        figures=[Path(path) for path in files.figures],
        records=[Path(path) for path in files.artifacts],
        output=Path(snakemake.output.report),
        summary=Path(snakemake.output.summary),
        verdict=Path(snakemake.output.verdict),
        commit=commit_of_code(),
    )
