import itertools
import statistics
from fractions import Fraction

import pytest
from trazo import store
from trazo.errors import InputError
from trazo.report.measures import (
    Measure,
    chance_map,
    chance_of,
    class_order,
    last_epochs,
    last_stages,
    last_weights,
    left_out,
    metric_label,
    ordering,
    read_measures,
    select,
    summarize,
    unit_of,
)

from .conftest import CLASSES, PER_CLASS, measure, two_stages


def _measures(tmp_path, rows):
    store.write_metrics(tmp_path / "metrics.csv", rows)
    return read_measures(tmp_path / "metrics.csv")


def _average_precision(order):
    hits = [rank for rank, relevant in enumerate(order, start=1) if relevant]
    return sum(Fraction(found, rank) for found, rank in enumerate(hits, start=1)) / len(hits)


@pytest.mark.parametrize(("relevant", "gallery"), [(1, 1), (1, 4), (2, 5), (3, 6), (6, 6)])
def test_chance_is_the_mean_over_all_orders(relevant, gallery):
    orders = [[i in chosen for i in range(gallery)] for chosen in itertools.combinations(range(gallery), relevant)]
    expected = sum(map(_average_precision, orders)) / len(orders)
    assert chance_map(relevant, gallery) == pytest.approx(float(expected), abs=1e-12)


def test_chance_of_leave_one_out_leaves_the_query_out(finished):
    measures = read_measures(finished.material.metrics)
    expected = chance_map(PER_CLASS - 1, PER_CLASS * len(CLASSES) - 1)
    assert chance_of(measures, finished.study, "toys-test") == pytest.approx(expected)
    assert chance_of(measures, finished.study, "elsewhere") is None


def test_one_seed_keeps_the_interval_of_the_file(tmp_path):
    [only] = _measures(tmp_path, [measure(metric="map", value=0.5, ci_low=0.4, ci_high=0.7, queries=9)])
    summary = summarize([only])
    assert (summary.value, summary.ci_low, summary.ci_high) == pytest.approx((0.5, 0.4, 0.7))
    assert (summary.deviation, summary.seeds, summary.queries) == (None, 1, 9)


def test_several_seeds_give_mean_and_deviation_and_a_wider_interval(tmp_path):
    values = [0.4, 0.5, 0.7]
    rows = [measure(metric="map", seed=s, value=v, ci_low=v - 0.1, ci_high=v + 0.1) for s, v in enumerate(values)]
    summary = summarize(_measures(tmp_path, rows))
    assert summary.value == pytest.approx(statistics.mean(values))
    assert summary.deviation == pytest.approx(statistics.stdev(values))
    # Student's t of 2 degrees of freedom at 97.5 %, from a printed table.
    half = (0.1**2 + (4.303 * statistics.stdev(values) / 3**0.5) ** 2) ** 0.5
    assert summary.ci_high - summary.value == pytest.approx(half, rel=1e-3)
    assert summary.seeds == 3


def test_folds_are_averaged_within_their_seed(tmp_path):
    rows = [measure(metric="map", fold=f, seed=s, value=v) for f, s, v in [(0, 0, 0.2), (1, 0, 0.4), (0, 1, 0.6)]]
    summary = summarize(_measures(tmp_path, rows))
    assert summary.value == pytest.approx((0.3 + 0.6) / 2)
    assert summary.seeds == 2


def test_only_the_last_weights_of_each_model_count(tmp_path, toy_study):
    rows = [measure(model=m, epoch=e, metric="map", value=e / 10) for m in ("small", "large") for e in (2, 10, 9)]
    rows.append(measure(model="small", stage="unknown", epoch=99, metric="map", value=0.9))
    chosen = last_weights(_measures(tmp_path, rows), toy_study)
    assert [(m.model, m.epoch) for m in chosen] == [("small", "10"), ("large", "10")]


def test_classes_stand_in_the_studys_order_and_the_total_last(toy_study):
    seen = ["", "unlisted", *reversed(CLASSES)]
    assert sorted(seen, key=ordering(toy_study, "class", seen)) == [*CLASSES, "unlisted", ""]
    assert class_order(toy_study) == CLASSES


def test_rates_are_shown_in_per_cent_and_loss_as_it_is():
    assert [unit_of(m).sign for m in ("map", "p@1", "accuracy", "loss")] == ["%", "%", "%", ""]
    assert [metric_label(m) for m in ("map", "map@5", "p@1", "mrr")] == ["mAP", "mAP@5", "P@1", "MRR"]


def test_a_difference_that_rounds_to_nothing_has_no_sign():
    unit = unit_of("map")
    assert [unit.signed(v) for v in (-0.04, 0.04, -1.26, 2)] == ["0.0", "0.0", "−1.3", "+2.0"]


def test_a_broken_number_is_named_with_its_line(tmp_path):
    path = tmp_path / "metrics.csv"
    store.write_metrics(path, [measure(metric="map", value=0.5)])
    path.write_text(path.read_text().replace("0.5", "half"))
    with pytest.raises(InputError, match=r"metrics\.csv, line 2: .*half"):
        read_measures(path)


def test_classes_and_models_are_never_taken_for_numbers_or_for_nothing(tmp_path):
    names = ["none", "007", "7", "1e3", "1000", "1_000", ""]
    rows = [measure(model="m", metric="map", **{"class": n}, value=i / 10) for i, n in enumerate(names)]
    rows += [measure(model=n, metric="mrr", value=i / 10) for i, n in enumerate(names[:-1])]
    found = _measures(tmp_path, rows)
    for position, name in enumerate(names):
        for dimension in ("class", "class_name"):
            chosen = select(found, metric="map", **{dimension: name})
            assert [m.value for m in chosen] == [position / 10]
    for position, name in enumerate(names[:-1]):
        assert [m.value for m in select(found, metric="mrr", model=name)] == [position / 10]


def test_sizes_match_as_numbers_and_no_reducer_is_none(tmp_path):
    rows = [
        measure(model="m", metric="map", reducer=r, size=s, value=v)
        for r, s, v in [("none", "64.0", 0.1), ("", "64", 0.2), ("pca", "8", 0.3)]
    ]
    found = _measures(tmp_path, rows)
    assert [m.value for m in select(found, reducer="none", size=64)] == [0.1, 0.2]
    assert [m.value for m in select(found, reducer=["", "pca"], size=["64", 8.0])] == [0.1, 0.2, 0.3]


@pytest.mark.parametrize(
    "dimension", ["dataset", "model", "stage", "epoch", "reducer", "size", "bits", "ranker", "distance", "metric",
                  "class", "average", "study"]
)  # fmt: skip
def test_values_of_different_things_are_not_averaged_as_seeds(tmp_path, dimension):
    row = measure(model="m", metric="map", value=0.5)
    found = _measures(tmp_path, [row | {dimension: "3"}, row | {dimension: "4", "seed": 1}])
    with pytest.raises(InputError, match=rf"differ in {dimension} \(3, 4\)"):
        summarize(found)


def test_a_class_named_none_is_not_averaged_with_the_total(tmp_path):
    row = measure(model="m", metric="map", value=0.5)
    with pytest.raises(InputError, match=r"differ in class \(empty, none\)"):
        summarize(_measures(tmp_path, [row, row | {"class": "none"}]))


def test_last_stage_and_last_epoch_can_be_taken_apart(tmp_path):
    study = two_stages()
    points = [("classify", 1), ("classify", 20), ("tune", 1), ("tune", 5)]
    rows = [measure(model="small", stage=s, epoch=e, metric="map", value=e / 100) for s, e in points]
    found = _measures(tmp_path, rows)
    assert [(m.stage, m.epoch) for m in last_stages(found, study)] == [("tune", "1"), ("tune", "5")]
    assert [(m.stage, m.epoch) for m in last_epochs(found)] == [("classify", "20"), ("tune", "5")]
    assert [(m.stage, m.epoch) for m in last_weights(found, study)] == [("tune", "5")]


def test_queries_left_out_are_counted_by_retrieval_and_by_model_where_they_differ(tmp_path):
    def row(dataset, model, excluded, queries, metric="map", **cells):
        given = {"dataset": dataset, "model": model, "metric": metric, "distance": "cosine", "value": 0.5}
        return measure(**{**given, "excluded": excluded, "queries": queries, **cells})

    rows = [
        row("one", "a", 3, 10), row("one", "b", 3, 10), row("one", "a", 0, 13, metric="knn_accuracy@1"),
        row("one", "a", 2, 4, **{"class": "cat"}),
        row("two", "a", 1, 9), row("two", "b", 0, 10),
        row("none", "a", 0, 5),
        row("classified", "a", 4, 5, distance=""),
    ]  # fmt: skip
    store.write_metrics(tmp_path / "m.csv", rows)
    assert left_out(read_measures(tmp_path / "m.csv")) == {
        "one": ["3 of 13 queries have no relevant item in the gallery and are left out."],
        "two": ["a: 1 of 10 queries has no relevant item in the gallery and is left out."],
    }


def test_chance_counts_the_items_of_queries_left_out(toy_study):
    def row(name, queries, excluded):
        numbers = {"queries": queries, "value": 0.5, "ci_low": None, "ci_high": None, "excluded": excluded}
        texts = dict.fromkeys(("study", "stage", "epoch", "seed", "reducer", "size", "bits", "fold", "ranker"), "")
        given = {"dataset": "toys-test", "model": "small", "distance": "cosine", "metric": "map", "average": "queries"}
        return Measure(**texts, **given, class_name=name, **numbers)

    rows = [row("cat", 4, 0), row("", 4, 3)]
    assert chance_of(rows, toy_study, "toys-test") == pytest.approx(chance_map(3, 6))
