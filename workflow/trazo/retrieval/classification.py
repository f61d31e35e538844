"""How well a network's own classifier does on items whose classes it learned: accuracy and loss."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from trazo.errors import InputError
from trazo.progress import log
from trazo.retrieval.statistics import metric_rows
from trazo.store import Features, read_features, write_metrics


def evaluate_classifier(*, features: Path | str, output: Path | str, study: str) -> None:
    """Write accuracy and cross-entropy loss of the logits kept with features, as tidy rows.

    Raises
    ------
    InputError
        If the features carry no logits, or an item's class is none that the network learned.
    """
    data = read_features(features)
    values = classification_values(data)
    key = data.record.get("settings", {}).get("key", {})
    constant = {
        "study": study,
        "dataset": f"{key.get('dataset')}-{key.get('split')}",
        **{name: key.get(name) for name in ("model", "stage", "epoch", "seed")},
    }
    rows = metric_rows(["accuracy", "loss"], values, data.labels, data.classes)
    write_metrics(output, (constant | row for row in rows))
    log.info("accuracy %.2f %%, loss %.4f", 100 * values[:, 0].mean(), values[:, 1].mean())


def classification_values(data: Features) -> np.ndarray:
    """Return (N, 2) float64: whether each item is classified rightly (0 or 1), and its cross-entropy loss in nats.

    The predicted class is that of the greatest logit; among equal ones, the first.
    """
    if data.logits is None:
        raise InputError("these features carry no logits; a classifier cannot be evaluated on them.")
    position = {name: index for index, name in enumerate(data.logit_classes)}
    strangers = [name for name in data.classes if name not in position]
    if strangers:
        raise InputError(
            f"the network learned {len(position)} classes, among them none of: {', '.join(strangers[:5])}; evaluate "
            "it on classes it learned."
        )
    targets = np.array([position[name] for name in data.classes])[data.labels]
    logits = data.logits.astype(np.float64)
    logits -= logits.max(axis=1, keepdims=True)
    log_likelihood = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    correct = data.logits.argmax(axis=1) == targets
    return np.column_stack([correct, -log_likelihood[np.arange(len(targets)), targets]])
