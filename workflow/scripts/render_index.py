"""Rule render_index: the front page over all finished studies."""

from pathlib import Path

from trazo.progress import step
from trazo.report.front import finished_studies, render_front

output = Path(snakemake.output.index)
with step(snakemake.log[0], "front page"):
    # Studies of earlier runs are no inputs: they must not be made again for it.
    render_front(sorted({*map(Path, snakemake.input.verdicts), *finished_studies(output.parent)}), output)
