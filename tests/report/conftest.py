"""A small finished study, written with the store's own writers: artifacts, metrics and published values."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from trazo import store
from trazo.config import Study
from trazo.provenance import describe
from trazo.report.drawing import Material
from trazo.report.published import PUBLISHED_COLUMNS

CLASSES = ['bee & "wasp" <b>', "a|b_c%d", "new\nline $x$"]
MODELS = ("small", "large")
DISTANCES = ("euclidean", "cosine")
PER_CLASS = 4


STUDY = {
    "title": 'Bees <i>& "others"</i>',
    "description": "A <script>alert(1)</script> study.",
    "datasets": {
        "toys": {"source": "doodles", "categories": CLASSES, "split": {"train": 8, "test": PER_CLASS}, "size": 16}
    },
    "models": {
        name: {
            "architecture": "alexnet",
            "feature": "fc7",
            "stages": [
                {
                    "name": "classify",
                    "data": "toys/train",
                    "validate_on": "toys/test",
                    "epochs": 2,
                    "optimizer": {"sgd": {"lr": 0.1}},
                }
            ],
        }
        for name in MODELS
    },
    "retrievals": [
        {
            "models": list(MODELS),
            "queries": "toys/test",
            "gallery": "toys/test",
            "leave_one_out": True,
            "distances": list(DISTANCES),
            "metrics": ["map", "mrr", "p@1", "recall_precision"],
            "votes": [1, 3],
        }
    ],
    "published": {"study": "bees", "datasets": {"Bees-3": "toys-test"}, "average": "classes"},
    "tables": {
        "by-class": {"title": "mAP by class | 100%", "metrics": ["map"], "average": "classes", "published": "table 1"},
        "accuracy": {
            "title": "Accuracy",
            "metrics": ["accuracy", "loss"],
            "rows": "metric",
            "columns": ["model"],
            "published": "section <2>",
        },
    },
    "figures": {
        "curve": {"title": "Precision & recall", "kind": "recall_precision"},
        "bars": {"title": "Bars", "kind": "class_bars"},
        "training": {"title": "Training", "kind": "training_curves"},
        "sheet": {"title": "Sheet <1>", "kind": "contact_sheet", "options": {"top": 3}},
        "predictions": {"title": "Predictions", "kind": "predictions"},
        "confusion": {"title": "Confusion", "kind": "confusion"},
        "votes": {"title": "Votes", "kind": "knn_confusion", "options": {"neighbours": 1}},
    },
}


def measure(**cells: object) -> dict[str, object]:
    """A row of metrics.csv with what all rows of the toy study share."""
    return {
        "study": "bees",
        "dataset": "toys-test",
        "stage": "classify",
        "epoch": 2,
        "seed": 0,
        "average": "queries",
        **cells,
    }


def toy_value(model: str, distance: str, position: int) -> float:
    """A made-up mAP that differs for every model, distance and class."""
    return 0.2 + 0.3 * MODELS.index(model) + 0.1 * DISTANCES.index(distance) + 0.03 * position


@dataclass(frozen=True)
class Finished:
    """The toy study's files."""

    folder: Path
    study: Study
    material: Material

    @property
    def records(self) -> list[Path]:
        m = self.material
        return [*m.images, *m.histories, *m.features, *m.rankings]


def two_stages() -> Study:
    """The toy study with a second stage, `tune`, for every model."""
    models = {}
    for name, model in STUDY["models"].items():
        models[name] = {**model, "stages": [*model["stages"], {**model["stages"][0], "name": "tune"}]}
    return Study.model_validate({**STUDY, "models": models})


@pytest.fixture
def toy_study() -> Study:
    return Study.model_validate(STUDY)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder = tmp_path_factory.mktemp("bees")
    study = Study.model_validate(STUDY)
    write_published(folder / "published.csv")
    store.write_metrics(folder / "metrics.csv", toy_measures())
    return Finished(
        folder,
        study,
        Material(
            metrics=folder / "metrics.csv",
            histories=tuple(_history(folder, model) for model in MODELS),
            rankings=tuple(_ranking(folder, model, d) for model in MODELS for d in DISTANCES),
            features=tuple(_features(folder, model) for model in MODELS),
            images=(_images(folder),),
            published=folder / "published.csv",
        ),
    )


def write_published(path: Path, rows: list[dict[str, object]] | None = None) -> None:
    base = {"study": "bees", "source": "Bee 2021", "table": "table 1", "dataset": "Bees-3", "unit": "%"}
    if rows is None:
        rows = [
            {"model": model, "distance": distance, "class": name, "metric": "map", "value": 40.0 + i}
            for i, name in enumerate([*CLASSES, ""])
            for model in MODELS
            for distance in DISTANCES
        ]
        rows.append({"model": "small", "metric": "accuracy", "value": 70, "table": "section <2>"})
        rows.append({"model": "large", "metric": "loss", "value": 1.5, "unit": "", "table": "section <2>"})
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, PUBLISHED_COLUMNS, restval="")
        writer.writeheader()
        writer.writerow(dict.fromkeys(PUBLISHED_COLUMNS, "") | {"study": "another", "metric": "map", "value": 1})
        writer.writerows(base | row for row in rows)


def toy_measures() -> list[dict[str, object]]:
    rows = []
    for model in MODELS:
        for metric, value in (("accuracy", 0.75), ("loss", 1.25)):
            rows.append(measure(model=model, metric=metric, value=value, ci_low=value - 0.1, ci_high=value + 0.1,
                                queries=12))  # fmt: skip
        for distance in DISTANCES:
            same = {"model": model, "distance": distance}
            values = [toy_value(model, distance, i) for i in range(len(CLASSES))]
            for name, value in zip(CLASSES, values):
                rows.append(measure(**same, metric="map", **{"class": name}, value=value, ci_low=value - 0.05,
                                    ci_high=value + 0.05, queries=PER_CLASS))  # fmt: skip
            for average in ("queries", "classes"):
                for metric in ("map", "mrr", "p@1"):
                    mean = sum(values) / 3 + (0.2 if metric != "map" else 0)
                    rows.append(measure(**same, metric=metric, average=average, value=mean, ci_low=mean - 0.05,
                                        ci_high=mean + 0.05, queries=12))  # fmt: skip
            for tenth in range(11):
                rows.append(measure(**same, metric=f"precision_at_recall@{tenth / 10}", value=1 - tenth / 20))
    return rows


def _record(step: str, key: dict[str, object]) -> dict[str, object]:
    return describe(step, settings={"key": key}, code="0123456789abcdef", seconds=1.5, device="cpu <x>")


def _labels() -> np.ndarray:
    return np.repeat(np.arange(len(CLASSES)), PER_CLASS)


def _ids() -> list[str]:
    return [f"item {i}" for i in range(len(_labels()))]


def _images(folder: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (len(_labels()), 16, 16), dtype=np.uint8)
    path = folder / "images.h5"
    record = _record("images", {"dataset": "toys", "split": "test"})
    store.write_images(path, [pixels], shape=pixels.shape, labels=_labels(), ids=_ids(), classes=CLASSES, record=record)
    return path


def _history(folder: Path, model: str) -> Path:
    epochs = [
        {
            "epoch": e,
            "loss": 2.0 / e,
            "accuracy": 0.4 * e,
            "validation_loss": 2.1 / e,
            "validation_accuracy": 0.3 * e,
            "images_per_second": 100.0 * e,
            "seconds": 2.0,
            "learning_rate": 0.1,
        }
        for e in (1, 2)
    ]
    path = folder / f"{model}.json"
    store.write_history(path, record=_record("train", {"model": model, "stage": "classify", "seed": 0}), epochs=epochs)
    return path


def _features(folder: Path, model: str) -> Path:
    rng = np.random.default_rng(MODELS.index(model))
    key = {"model": model, "stage": "classify", "epoch": 2, "seed": 0, "dataset": "toys", "split": "test"}
    logits = rng.normal(size=(len(_labels()), len(CLASSES))).astype(np.float32)
    values = rng.normal(size=(len(_labels()), 5)).astype(np.float32)
    path = folder / f"{model}.h5"
    store.write_features(
        path, store.Features(values, _labels(), _ids(), CLASSES, logits, CLASSES, _record("features", key))
    )
    return path


def _ranking(folder: Path, model: str, distance: str) -> Path:
    rng = np.random.default_rng(7)
    count = len(_labels())
    top = np.stack([rng.permutation(np.delete(np.arange(count), q))[:5] for q in range(count)])
    key = {
        "retrieval": "toys-test",
        "queries": "toys/test",
        "gallery": "toys/test",
        "model": model,
        "stage": "classify",
        "epoch": 2,
        "seed": 0,
        "reducer": "none",
        "distance": distance,
    }
    path = folder / f"{model}-{distance}.h5"
    store.write_ranking(
        path,
        store.RankingArtifact(
            metrics=["map", "mrr"],
            values=rng.random((count, 2)),
            evaluated=np.ones(count, dtype=bool),
            relevant=np.full(count, PER_CLASS - 1),
            top_indices=top,
            top_distances=np.sort(rng.random((count, 5)).astype(np.float32), axis=1),
            query_labels=_labels(),
            gallery_labels=_labels(),
            query_ids=_ids(),
            gallery_ids=_ids(),
            classes=CLASSES,
            record=_record("rank", key),
            votes=np.column_stack([_labels()[top[:, 0]], np.where(_labels() == 0, -1, 2)]),
            vote_counts=[1, 3],
        ),
    )
    return path
