"""Rule evaluate_classifier: accuracy and loss of a network's own classifier."""

from trazo.progress import step
from trazo.retrieval.classification import evaluate_classifier

with step(snakemake.log[0], f"classification by {snakemake.wildcards.model}"):
    evaluate_classifier(
        features=snakemake.input.features, output=snakemake.output.metrics, study=snakemake.wildcards.study
    )
