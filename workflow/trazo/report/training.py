"""Training histories as measures: how a stage learned, epoch by epoch, and how long it took.

Two files, since times differ from run to run and the first must not. Reading measures is in `measures`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from trazo.errors import InputError
from trazo.store import read_history, read_metrics, write_metrics

# What an epoch of a history holds, by the metric it is kept as.
_LEARNED = {
    "train_accuracy": "accuracy",
    "train_loss": "loss",
    "train_accuracy_frozen": "frozen_accuracy",
    "train_loss_frozen": "frozen_loss",
}
_SPEED = "images_per_second"


def collect_training(
    histories: Sequence[Path | str],
    *,
    study: str,
    data: Mapping[str, Mapping[str, str]],
    training: Path | str,
    timings: Path | str,
    times: Sequence[Path | str] = (),
) -> None:
    """Write what training histories tell as tidy metrics, a row an epoch and metric; and join all times.

    Parameters
    ----------
    histories
        `history.json` of every stage, seed and model.
    study
        The study's name.
    data
        The `<dataset>/<split>` that a stage of a model learns from, by model, then by stage.
    training
        Where to write `train_accuracy` and `train_loss`, running means over an epoch, of the network as it learns, and
        `train_accuracy_frozen` and `train_loss_frozen`, of the weights after it, where a sample was measured. A stage
        that has no classifier has no accuracies, and an epoch before training no running means.
    timings
        Where to write `training_time`, minutes of training from the stage's beginning to the epoch's end, interrupted
        runs included and validation left out, and `images_per_second` of the epoch; and the rows of `times`.
    times
        Tidy metrics of the times that searches take.

    Raises
    ------
    InputError
        If a history is of a model or stage that `data` does not have.
    """
    read = [_identified(Path(path), study, data) for path in histories]
    write_metrics(training, (identity | row for identity, epochs in read for row in _learned(epochs)))
    trained = (identity | row for identity, epochs in read for row in _timed(epochs))
    write_metrics(timings, [*trained, *(row for path in sorted(map(str, times)) for row in read_metrics(path))])


def _identified(
    path: Path, study: str, data: Mapping[str, Mapping[str, str]]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    record, epochs = read_history(path)
    key = record.get("settings", {}).get("key", {})
    model, stage = str(key.get("model")), str(key.get("stage"))
    if stage not in data.get(model, {}):
        raise InputError(f"{path} is of stage {stage!r} of {model!r}, which the study does not have; delete it.")
    dataset = data[model][stage].replace("/", "-")
    return {"study": study, "dataset": dataset, "model": model, "stage": stage, "seed": key.get("seed")}, epochs


def _learned(epochs: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for epoch in epochs:
        for metric, name in _LEARNED.items():
            if epoch.get(name) is not None:
                yield {"epoch": epoch["epoch"], "metric": metric, "value": float(epoch[name])}


def _timed(epochs: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    trained = [epoch for epoch in epochs if epoch.get("seconds") is not None]
    for count, epoch in enumerate(trained, start=1):
        minutes = math.fsum(e["seconds"] for e in trained[:count]) / 60
        yield {"epoch": epoch["epoch"], "metric": "training_time", "value": minutes}
        if epoch.get(_SPEED) is not None:
            yield {"epoch": epoch["epoch"], "metric": _SPEED, "value": float(epoch[_SPEED])}
