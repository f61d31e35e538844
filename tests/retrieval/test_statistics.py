"""Means, intervals and tests against hand-worked cases, SciPy, and their own definitions."""

import numpy as np
import pytest
from scipy import stats
from trazo.errors import InputError
from trazo.retrieval.statistics import (
    bootstrap_interval,
    mean_and_deviation,
    metric_rows,
    pairwise_randomisation_test,
    randomisation_test,
    summarise,
)


def test_means_over_queries_and_over_classes_differ_when_classes_do() -> None:
    rows = summarise(np.array([1.0, 1.0, 1.0, 0.0]), np.array([0, 0, 0, 1]), ["bear", "cat"])
    assert [(row.scope, row.label, row.value, row.queries) for row in rows] == [
        ("class", "bear", 1.0, 3),
        ("class", "cat", 0.0, 1),
        ("mean over queries", "", 0.75, 4),
        ("mean over classes", "", 0.5, 4),
    ]


def test_queries_left_out_are_counted_and_never_averaged() -> None:
    rows = summarise(np.array([0.5, np.nan, np.nan]), np.array([0, 0, 1]), ["bear", "cat"])
    assert [(row.value, row.queries, row.excluded) for row in rows] == [
        (0.5, 1, 1),
        (None, 0, 1),
        (0.5, 1, 2),
        (0.5, 1, 2),
    ]


def test_a_label_without_a_name_is_refused() -> None:
    with pytest.raises(InputError, match="0 to 1"):
        summarise(np.zeros(2), np.array([0, 2]), ["bear", "cat"])


def test_interval_equals_that_of_scipy() -> None:
    values = np.random.default_rng(0).random((80, 3))
    low, high = bootstrap_interval(values, resamples=8000)
    for m in range(3):
        peer = stats.bootstrap((values[:, m],), np.mean, method="percentile", n_resamples=8000, rng=1)
        assert low[m] == pytest.approx(peer.confidence_interval.low, abs=0.004)
        assert high[m] == pytest.approx(peer.confidence_interval.high, abs=0.004)


def test_interval_of_a_mean_over_classes_has_its_spread() -> None:
    draw = np.random.default_rng(1)
    labels = np.repeat([0, 1, 2], [200, 20, 80])
    values = draw.normal(labels, 1.0)
    low, high = bootstrap_interval(values, labels=labels, average="classes", resamples=6000)
    # The classes are independent: the variance of the mean of three class means.
    deviation = np.sqrt(sum(values[labels == c].var() / (labels == c).sum() for c in range(3))) / 3
    centre = np.mean([values[labels == c].mean() for c in range(3)])
    assert low == pytest.approx(centre - 1.96 * deviation, abs=0.1 * deviation)
    assert high == pytest.approx(centre + 1.96 * deviation, abs=0.1 * deviation)


def test_deviations_in_classes_of_few_queries_are_those_of_an_unbiased_variance() -> None:
    draw = np.random.default_rng(6)
    labels = np.repeat(np.arange(60), draw.integers(2, 5, 60))
    values = draw.normal(size=len(labels))
    low, high = bootstrap_interval(values, labels=labels, average="classes", resamples=8000)
    classes = [values[labels == c] for c in range(60)]
    deviation = np.sqrt(sum(stats.sem(own) ** 2 for own in classes)) / 60
    # Sixty independent means: nearly normal.
    assert high - low == pytest.approx(2 * 1.96 * deviation, rel=0.04)
    assert (low + high) / 2 == pytest.approx(np.mean([own.mean() for own in classes]), abs=0.1 * deviation)


def test_interval_of_a_mean_of_few_queries_has_the_standard_error_s_width() -> None:
    values = np.random.default_rng(7).normal(size=8)
    low, high = bootstrap_interval(values, resamples=20000)
    peer = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=20000, rng=1).confidence_interval
    wider = (high - low) / (peer.high - peer.low)
    assert wider == pytest.approx(stats.sem(values) / stats.sem(values, ddof=0), rel=0.02)


def test_intervals_of_classes_of_two_and_one_cover_what_they_promise() -> None:
    draw = np.random.default_rng(8)
    for sizes in (np.full(40, 2), np.repeat([1, 4], [15, 25])):
        labels, truth = np.repeat(np.arange(40), sizes), draw.random(40)
        covered = 0
        for trial in range(200):
            values = truth[labels] + draw.normal(0, 0.3, len(labels))
            low, high = bootstrap_interval(values, labels=labels, average="classes", resamples=300, seed=trial)
            covered += low <= truth.mean() <= high
        # 200 trials of 95 %: three standard deviations are 9.
        assert covered >= 178


def test_one_query_has_no_interval_and_lends_itself_none() -> None:
    assert np.isnan(bootstrap_interval(np.array([0.3]))).all()
    low, high = bootstrap_interval(np.array([[0.3, 0.4]]))
    assert np.isnan(low).all()
    assert np.isnan(high).all()
    values, labels = np.linspace(0, 1, 12), np.repeat([0, 1, 2], [1, 5, 6])
    # The two classes have 4 + 5 degrees of freedom: too few to speak for the third.
    assert np.isnan(bootstrap_interval(values, labels=labels, average="classes")).all()
    low, high = bootstrap_interval(values[1:], labels=labels[1:], average="classes")
    assert low < values[1:].mean() < high


def test_rows_of_too_few_queries_have_a_value_and_no_interval() -> None:
    values = np.array([[0.25, 2.0], [0.75, 9.0], [1.0, 9.5]])
    rows = list(metric_rows(["map", "loss"], values, np.array([0, 1, 1]), ["bear", "cat", "eel"]))
    found = {(row["metric"], row["class"], row["average"]): row for row in rows}
    alone = found["map", "bear", "queries"]
    assert (alone["value"], alone["ci_low"], alone["ci_high"]) == (0.25, None, None)
    assert found["map", "", "classes"]["ci_low"] is None
    # Two values of 0.75 and 1 have scaled deviations that reach beyond what a precision can be.
    assert found["map", "cat", "queries"]["ci_high"] == 1
    assert found["loss", "cat", "queries"]["ci_high"] > 9.5


def test_interval_is_the_same_for_one_column_and_many_and_for_a_seed() -> None:
    values = np.random.default_rng(2).random((50, 4))
    low, high = bootstrap_interval(values, seed=5)
    assert bootstrap_interval(values[:, 2], seed=5) == (pytest.approx(low[2]), pytest.approx(high[2]))
    assert bootstrap_interval(values[:, 2], seed=6)[0] != low[2]


def test_values_that_do_not_vary_have_no_width() -> None:
    low, high = bootstrap_interval(np.full(9, 0.25))
    assert low == pytest.approx(0.25)
    assert high == pytest.approx(0.25)


def test_randomisation_of_few_queries_is_exact() -> None:
    a, b = np.array([0.9, 0.8, 0.7, 0.6]), np.array([0.5, 0.5, 0.5, 0.5])
    # All four differences are positive: 2 of the 16 sign patterns reach the observed mean.
    assert randomisation_test(a, b) == pytest.approx(2 / 16)


def test_randomisation_agrees_with_scipy() -> None:
    draw = np.random.default_rng(3)
    a, b = draw.random(60), draw.random(60) - 0.08
    peer = stats.permutation_test(
        (a, b), lambda x, y, axis: (x - y).mean(axis), permutation_type="samples", vectorized=True, rng=0
    )
    assert randomisation_test(a, b, resamples=20000) == pytest.approx(peer.pvalue, abs=0.02)


def test_equal_methods_do_not_differ_and_unequal_ones_do() -> None:
    values = np.random.default_rng(4).random((40, 2))
    p = randomisation_test(values + np.array([0.0, 0.5]), values)
    assert p[0] == 1
    assert p[1] == pytest.approx(1 / 10001)


def test_classes_weigh_alike_in_a_test_over_classes() -> None:
    labels = np.repeat([0, 1], [30, 2])
    difference = np.where(labels == 0, 0.01, -0.5)
    noise = np.random.default_rng(5).normal(0, 0.001, 32)
    over_queries = randomisation_test(difference + noise, np.zeros(32))
    over_classes = randomisation_test(difference + noise, np.zeros(32), labels=labels, average="classes")
    # Two large negative differences decide the class mean; alone they share a sign in half of the patterns.
    assert over_classes == pytest.approx(0.5, abs=0.05)
    assert over_queries > 0.5


def test_mean_and_deviation_over_seeds() -> None:
    assert mean_and_deviation([1.0, 2.0, 3.0]) == (2.0, 1.0)
    assert mean_and_deviation([0.5]) == (0.5, None)


def test_nan_missing_labels_and_unpaired_values_are_refused() -> None:
    with pytest.raises(InputError, match="1 of 2 rows hold NaN"):
        bootstrap_interval(np.array([0.5, np.nan]))
    with pytest.raises(InputError, match="one label for each"):
        bootstrap_interval(np.zeros(3), average="classes")
    with pytest.raises(InputError, match="pair them"):
        randomisation_test(np.zeros(3), np.zeros(4))
    with pytest.raises(InputError, match="one query or more"):
        mean_and_deviation([])


def test_all_pairs_at_once_equal_each_pair_alone() -> None:
    draw = np.random.default_rng(3)
    labels = draw.integers(0, 4, 60)
    values = draw.random((60, 4, 2)) + np.array([0.0, 0.05, 0.1, 0.1])[:, None]
    values[:, 3] = values[:, 2]
    for average in ("queries", "classes"):
        p = pairwise_randomisation_test(values, labels=labels, average=average, resamples=3000, seed=4)
        for i in range(4):
            for j in range(4):
                alone = randomisation_test(
                    values[:, i], values[:, j], labels=labels, average=average, resamples=3000, seed=4
                )
                assert p[i, j] == pytest.approx(alone if i != j else [1.0, 1.0])
        assert p[2, 3] == pytest.approx([1.0, 1.0])


def test_all_pairs_of_few_queries_are_exact() -> None:
    values = np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])[:, :, None]
    assert pairwise_randomisation_test(values)[0, 1, 0] == pytest.approx(2 / 16)
    with pytest.raises(InputError, match="methods"):
        pairwise_randomisation_test(values[:, :, 0])
