"""Marks in tables and p values in metrics.csv, from tests written by hand."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from trazo import store
from trazo.config import Table
from trazo.errors import InputError
from trazo.report.measures import read_measures
from trazo.report.metrics import collect
from trazo.report.significance import Significance
from trazo.report.tables import (
    BEST,
    BETTER,
    LIKE,
    TIED,
    WORSE,
    build_table,
    mark_words,
    table_csv,
    table_latex,
    table_legend,
    table_markdown,
    validate_table,
)
from trazo.store import METHOD_COLUMNS

from .conftest import measure

# mAP of four methods; the p values of the best (large cosine) against the others tell what is marked.
VALUES = {("small", "euclidean"): 0.2, ("small", "cosine"): 0.58, ("large", "euclidean"): 0.5, ("large", "cosine"): 0.6}
P = {("small", "euclidean"): 0.001, ("small", "cosine"): 0.4, ("large", "euclidean"): 0.049}


def _method(model: str, distance: str) -> dict[str, str]:
    return dict.fromkeys(METHOD_COLUMNS, "") | {
        "model": model, "stage": "classify", "epoch": "2", "reducer": "none", "distance": distance
    }  # fmt: skip


def _written(folder: Path) -> tuple[Path, Path]:
    rows = [
        measure(model=model, distance=distance, reducer="none", metric="map", value=value)
        for (model, distance), value in VALUES.items()
    ]
    store.write_metrics(folder / "metrics.csv", rows)
    keys = list(VALUES)
    tests = []
    for i, first in enumerate(keys):
        for other in keys[i + 1 :]:
            p = P.get(first, P.get(other, 1.0)) if ("large", "cosine") in (first, other) else 0.5
            row = {"dataset": "toys-test", "metric": "map", "average": "queries", "queries": 12, "p": p}
            row |= _method(*first) | {f"other_{c}": v for c, v in _method(*other).items()}
            tests.append(row | {"difference": VALUES[first] - VALUES[other]})
    store.write_significance(folder / "significance.csv", tests)
    return folder / "metrics.csv", folder / "significance.csv"


def _grid(finished, folder, **table):
    metrics, significance = _written(folder)
    settings = Table(title="T", metrics=["map"], **{"rows": "model", "columns": ["distance"], **table})
    return build_table(settings, finished.study, read_measures(metrics), [], Significance.read(significance))


def test_the_best_is_marked_and_what_cannot_be_told_from_it(finished, tmp_path):
    grid = _grid(finished, tmp_path)
    assert {place: cell.mark for place, cell in grid.cells.items()} == {
        ("large", ("cosine",)): BEST,
        ("small", ("cosine",)): TIED,
        ("small", ("euclidean",)): "",
        ("large", ("euclidean",)): "",
    }
    assert any("paired randomisation test" in sentence for sentence in table_legend(grid))
    assert f"**60.0** {BEST}" in table_markdown(grid)
    assert r"60.0$^{\star}$" in table_latex(grid)
    rows = list(csv.DictReader(table_csv(grid).splitlines()))
    assert {row["model"]: row["cosine mark"] for row in rows} == {"small": "like best", "large": "best"}


def test_the_best_is_that_of_the_values_shown(finished, tmp_path):
    grid = _grid(finished, tmp_path, where={"distance": "euclidean"}, columns=[])
    marks = {place[0]: cell.mark for place, cell in grid.cells.items()}
    assert marks == {"large": BEST, "small": TIED}


def test_marks_beside_one_method_say_what_is_better_and_worse(finished, tmp_path):
    grid = _grid(finished, tmp_path, against={"model": "large", "distance": "cosine"})
    assert {place: cell.mark for place, cell in grid.cells.items()} == {
        ("large", ("cosine",)): "",
        ("small", ("cosine",)): LIKE,
        ("small", ("euclidean",)): WORSE,
        ("large", ("euclidean",)): WORSE,
    }
    assert grid.against == "large, cosine"
    assert any("worse than large, cosine" in sentence for sentence in table_legend(grid))
    assert mark_words(WORSE, grid) == "worse than large, cosine"
    assert r"50.0$^{\downarrow}$" in table_latex(grid)
    rows = list(csv.DictReader(table_csv(grid).splitlines()))
    assert [row["euclidean mark"] for row in rows] == ["worse", "worse"]


def test_of_several_methods_to_compare_with_that_of_the_same_model_counts(finished, tmp_path):
    grid = _grid(finished, tmp_path, against={"distance": "euclidean"})
    # All other pairs have p = 0.5.
    assert {place: cell.mark for place, cell in grid.cells.items()} == {
        ("large", ("cosine",)): BETTER,
        ("small", ("cosine",)): LIKE,
        ("small", ("euclidean",)): "",
        ("large", ("euclidean",)): "",
    }


def test_what_marks_compare_with_is_of_the_study(finished):
    table = Table(title="T", metrics=["map"], against={"model": "larg"})
    with pytest.raises(InputError, match="against: unknown model 'larg'"):
        validate_table(table, finished.study, {"map"})
    with pytest.raises(InputError, match="unknown dimension 'colour'"):
        validate_table(table.model_copy(update={"against": {"colour": "red"}}), finished.study)


def test_without_tests_nothing_is_marked(finished, tmp_path):
    metrics, _ = _written(tmp_path)
    table = Table(title="T", metrics=["map"], rows="model", columns=["distance"])
    grid = build_table(table, finished.study, read_measures(metrics), [])
    assert not any(cell.mark for cell in grid.cells.values())
    assert "mark" not in table_csv(grid)


def test_metrics_tell_the_p_value_against_the_best(tmp_path):
    metrics, significance = _written(tmp_path)
    collect([metrics], tmp_path / "all.csv", significance=significance)
    with (tmp_path / "all.csv").open(newline="") as file:
        found = {(row["model"], row["distance"]): row["p_best"] for row in csv.DictReader(file)}
    assert found == {key: repr(P[key]) if key in P else "" for key in VALUES}
