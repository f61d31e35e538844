"""Tests between methods as the step writes them, against the test of each pair alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from trazo.errors import InputError
from trazo.retrieval.significance import compare_methods
from trazo.retrieval.statistics import randomisation_test
from trazo.store import RankingArtifact, read_significance, write_metrics, write_ranking

QUERIES = 40
LABELS = np.arange(QUERIES) % 4


def _write(
    folder: Path, name: str, values: np.ndarray, metrics: list[str], labels: np.ndarray = LABELS, **key: object
) -> tuple[Path, Path]:
    """Write a ranking of values (Q, M), and the CSV beside it that names the method."""
    counted = ~np.isnan(values).any(axis=1)
    write_ranking(
        folder / f"{name}.h5",
        RankingArtifact(
            metrics=metrics,
            values=values,
            evaluated=counted,
            relevant=counted.astype(np.int64),
            top_indices=np.zeros((QUERIES, 1), np.int64),
            top_distances=np.zeros((QUERIES, 1), np.float32),
            query_labels=labels,
            gallery_labels=LABELS,
            query_ids=[str(i) for i in range(QUERIES)],
            gallery_ids=[str(i) for i in range(QUERIES)],
            classes=list("abcd"),
        ),
    )
    row = {"study": "s", "dataset": "d", "model": name, "epoch": 1, "seed": 0, "reducer": "none", "size": 8,
           "ranker": "exact", "distance": "cosine", "metric": metrics[0], "average": "queries",
           "value": 0.0}  # fmt: skip
    write_metrics(folder / f"{name}.csv", [{**row, **key}])
    return folder / f"{name}.h5", folder / f"{name}.csv"


def _compared(folder: Path, written: list[tuple[Path, Path]]) -> list[dict[str, str]]:
    compare_methods([h5 for h5, _ in written], [rows for _, rows in written], folder / "significance.csv")
    return read_significance(folder / "significance.csv")


def test_every_pair_stands_once_with_its_own_test(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    values = {name: draw.random((QUERIES, 2)) + shift for name, shift in (("a", 0.0), ("b", 0.1), ("c", 0.3))}
    rows = _compared(tmp_path, [_write(tmp_path, name, each, ["map", "p@1"]) for name, each in values.items()])
    assert len(rows) == 3 * 2 * 2
    for row in rows:
        column = ["map", "p@1"].index(row["metric"])
        first, other = values[row["model"]][:, column], values[row["other_model"]][:, column]
        labels = LABELS if row["average"] == "classes" else None
        assert float(row["p"]) == pytest.approx(randomisation_test(first, other, labels=labels, average=row["average"]))
        # Classes are of one size here, so that both means are one number.
        assert float(row["difference"]) == pytest.approx((first - other).mean())
        assert row["queries"] == str(QUERIES)


def test_seeds_are_repetitions_of_one_method(tmp_path: Path) -> None:
    draw = np.random.default_rng(1)
    a0, a1, b0, b1 = (draw.random((QUERIES, 1)) for _ in range(4))
    written = [
        _write(tmp_path, f"{model}{seed}", each, ["map"], model=model, seed=seed)
        for model, seed, each in (("a", 0, a0), ("a", 1, a1), ("b", 0, b0), ("b", 1, b1))
    ]
    rows = [row for row in _compared(tmp_path, written) if row["average"] == "queries"]
    assert len(rows) == 1
    assert float(rows[0]["p"]) == pytest.approx(randomisation_test((a0 + a1)[:, 0] / 2, (b0 + b1)[:, 0] / 2))


def test_methods_are_compared_by_the_metrics_that_both_have_and_no_curve(tmp_path: Path) -> None:
    draw = np.random.default_rng(2)
    exact = _write(tmp_path, "exact", draw.random((QUERIES, 3)), ["map", "p@1", "interpolated_precision@0.1"])
    lists = _write(tmp_path, "lists", draw.random((QUERIES, 1)), ["p@1"])
    assert {row["metric"] for row in _compared(tmp_path, [exact, lists])} == {"p@1"}


def test_queries_left_out_take_no_part(tmp_path: Path) -> None:
    draw = np.random.default_rng(3)
    a, b = draw.random((QUERIES, 1)), draw.random((QUERIES, 1))
    a[:5] = b[:5] = np.nan
    rows = _compared(tmp_path, [_write(tmp_path, "a", a, ["map"]), _write(tmp_path, "b", b, ["map"])])
    assert {row["queries"] for row in rows} == {str(QUERIES - 5)}
    assert float(rows[0]["p"]) == pytest.approx(randomisation_test(a[5:, 0], b[5:, 0]))


def test_one_method_alone_has_nobody_to_be_compared_with(tmp_path: Path) -> None:
    assert _compared(tmp_path, [_write(tmp_path, "a", np.ones((QUERIES, 1)), ["map"])]) == []


def test_rankings_of_other_queries_are_refused(tmp_path: Path) -> None:
    first = _write(tmp_path, "a", np.ones((QUERIES, 1)), ["map"])
    second = _write(tmp_path, "b", np.ones((QUERIES, 1)), ["map"], labels=LABELS[::-1])
    with pytest.raises(InputError, match="other queries"):
        _compared(tmp_path, [first, second])
