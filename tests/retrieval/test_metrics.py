"""Metrics against textbook definitions, enumeration of every order of the tied, and independent libraries."""

import itertools
import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
import pytrec_eval
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats
from sklearn.metrics import average_precision_score
from trazo.errors import InputError
from trazo.retrieval.kernels import expected_inverse_rank
from trazo.retrieval.metrics import (
    FAMILIES,
    TieGroups,
    evaluate,
    expand_metrics,
    harmonic_difference,
    metrics,
    validate_metric,
)


def groups_of(distances: np.ndarray, relevant: np.ndarray) -> TieGroups:
    """Return the tie groups of one query, counted item by item."""
    levels = sorted(set(distances[relevant]))
    closer = [int((distances < level).sum()) for level in levels]
    tied = [int((distances == level).sum()) for level in levels]
    hits_closer = [int((distances[relevant] < level).sum()) for level in levels]
    hits = [int((distances[relevant] == level).sum()) for level in levels]
    table = np.array([closer, tied, hits_closer, hits])
    return TieGroups(np.array([0, len(levels)]), *table, np.array([len(distances)]), np.array([relevant.sum()]))


def precisions(order: list[bool]) -> list[float]:
    return [sum(order[:i]) / i for i in range(1, len(order) + 1)]


def over_hits(order: list[bool], k: int, excluded: int) -> float:
    found = [(sum(order[:i]) - excluded) / i for i in range(1, k + 1) if order[i - 1]]
    return sum(found) / len(found) if found else 0.0


def gain(order: list[bool], k: int) -> float:
    def total(hits: list[bool]) -> float:
        return sum(hit / math.log2(i + 2) for i, hit in enumerate(hits[:k]))

    return total(order) / total(sorted(order, reverse=True))


def summed(order: list[bool], k: int) -> float:
    return sum(p for p, hit in zip(precisions(order)[:k], order) if hit)


def hit_precisions(order: list[bool]) -> list[float]:
    return [p for p, hit in zip(precisions(order), order) if hit]


def at_recall(order: list[bool], level: Fraction) -> float:
    n = math.floor(level * sum(order))
    return hit_precisions(order)[n - 1] if n else 1.0


# Textbook definitions for one order, k cut at 3: written from the formulas, not from the code under test.
DEFINITIONS: dict[str, Callable[[list[bool]], float]] = {
    "map": lambda order: summed(order, len(order)) / sum(order),
    "map@3": lambda order: summed(order, 3) / min(3, sum(order)),
    "map_hits": lambda order: over_hits(order, len(order), 0),
    "map_hits@3": lambda order: over_hits(order, 3, 0),
    "map_hits_excl": lambda order: over_hits(order, len(order), 1),
    "map_hits_excl@3": lambda order: over_hits(order, 3, 1),
    "p@1": lambda order: float(order[0]),
    "p@3": lambda order: sum(order[:3]) / 3,
    "recall@3": lambda order: sum(order[:3]) / sum(order),
    "mrr": lambda order: 1 / (order.index(True) + 1),
    "r_precision": lambda order: sum(order[: sum(order)]) / sum(order),
    "map@r": lambda order: summed(order, sum(order)) / sum(order),
    "ndcg": lambda order: gain(order, len(order)),
    "ndcg@3": lambda order: gain(order, 3),
    "precision_at_recall@0.0": lambda order: at_recall(order, Fraction(0)),
    "precision_at_recall@0.3": lambda order: at_recall(order, Fraction("0.3")),
    "precision_at_recall@0.5": lambda order: at_recall(order, Fraction("0.5")),
    "precision_at_recall@1.0": lambda order: at_recall(order, Fraction(1)),
}
INTERPOLATED = ("0.0", "0.3", "0.5", "1.0")


def interpolated(order: list[bool], level: str) -> float:
    n = max(1, math.ceil(Fraction(level) * sum(order)))
    return max(hit_precisions(order)[n - 1 :])


def all_orders(distances: np.ndarray, relevant: np.ndarray) -> list[list[bool]]:
    """Return the relevance of every order in which a sort may leave the items."""
    blocks = [list(relevant[distances == level]) for level in sorted(set(distances))]
    choices = [list(itertools.permutations(block)) for block in blocks]
    return [[bool(hit) for block in order for hit in block] for order in itertools.product(*choices)]


def value(name: str, groups: TieGroups) -> float:
    return float(evaluate(groups, [validate_metric(name)])[0, 0])


@st.composite
def tied_queries(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    size = draw(st.integers(3, 7))
    distances = np.array(draw(st.lists(st.integers(0, 3), min_size=size, max_size=size)))
    relevant = np.array(draw(st.lists(st.booleans(), min_size=size, max_size=size)))
    relevant[draw(st.integers(0, size - 1))] = True
    return distances, relevant


@settings(max_examples=60, deadline=None)
@given(tied_queries())
def test_metrics_are_the_expectation_over_all_orders_of_the_tied(query: tuple[np.ndarray, np.ndarray]) -> None:
    groups, orders = groups_of(*query), all_orders(*query)
    for name, define in DEFINITIONS.items():
        expected = np.mean([define(order) for order in orders])
        assert value(name, groups) == pytest.approx(expected, abs=1e-12), name


@settings(max_examples=60, deadline=None)
@given(tied_queries())
def test_interpolated_precision_is_the_best_expected_precision_from_a_hit_on(
    query: tuple[np.ndarray, np.ndarray],
) -> None:
    groups, orders = groups_of(*query), all_orders(*query)
    expected_at_hit = np.mean([hit_precisions(order) for order in orders], axis=0)
    for level in INTERPOLATED:
        n = max(1, math.ceil(Fraction(level) * int(query[1].sum())))
        found = value(f"interpolated_precision@{level}", groups)
        assert found == pytest.approx(expected_at_hit[n - 1 :].max(), abs=1e-12)
        assert found <= np.mean([interpolated(order, level) for order in orders]) + 1e-12


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(3, 60))
def test_without_ties_every_metric_is_its_textbook_value(seed: int, size: int) -> None:
    draw = np.random.default_rng(seed)
    relevant = draw.random(size) < draw.random()
    relevant[draw.integers(size)] = True
    distances = draw.permutation(size)
    groups = groups_of(distances, relevant)
    order = [bool(hit) for hit in relevant[np.argsort(distances)]]
    for name, define in DEFINITIONS.items():
        assert value(name, groups) == pytest.approx(define(order), abs=1e-12), name
    for level in INTERPOLATED:
        expected = interpolated(order, level)
        assert value(f"interpolated_precision@{level}", groups) == pytest.approx(expected, abs=1e-12)


def test_average_precision_equals_scikit_learn_without_ties() -> None:
    draw = np.random.default_rng(0)
    for _ in range(20):
        relevant, distances = draw.random(500) < 0.1, draw.permutation(500)
        expected = average_precision_score(relevant, -distances)
        assert value("map", groups_of(distances, relevant)) == pytest.approx(expected, abs=1e-12)


def test_metrics_equal_pytrec_eval() -> None:
    draw = np.random.default_rng(1)
    relevant, distances = draw.random(300) < 0.1, draw.permutation(300)
    judged = {"q": {str(i): int(hit) for i, hit in enumerate(relevant)}}
    scores = {"q": {str(i): -float(distances[i]) for i in range(300)}}
    names = {
        "map": "map",
        "mrr": "recip_rank",
        "p@10": "P_10",
        "recall@10": "recall_10",
        "r_precision": "Rprec",
        "ndcg": "ndcg",
        "ndcg@10": "ndcg_cut_10",
        **{f"interpolated_precision@{t / 10:.1f}": f"iprec_at_recall_{t / 10:.2f}" for t in range(11)},
    }
    found = pytrec_eval.RelevanceEvaluator(
        judged, {"map", "recip_rank", "P", "recall", "Rprec", "ndcg", "ndcg_cut", "iprec_at_recall"}
    ).evaluate(scores)["q"]
    groups = groups_of(distances, relevant)
    for ours, theirs in names.items():
        assert value(ours, groups) == pytest.approx(found[theirs], abs=1e-6), ours


def test_a_perfect_ranking_scores_one_except_where_hits_leave_themselves_out() -> None:
    distances, relevant = np.arange(20), np.arange(20) < 5
    groups = groups_of(distances, relevant)
    names = ["map", "map@5", "map_hits", "map_hits@5", "p@5", "recall@5", "mrr", "r_precision", "map@r", "ndcg@5"]
    for name in expand_metrics([*names, *FAMILIES]):
        assert value(name, groups) == pytest.approx(1.0), name
    # Hits strictly before rank i, over i: 0, 1/2, 2/3, 3/4, 4/5.
    assert value("map_hits_excl", groups) == pytest.approx((0 + 1 / 2 + 2 / 3 + 3 / 4 + 4 / 5) / 5)


def test_everything_tied_gives_chance() -> None:
    distances, relevant = np.zeros(1000), np.arange(1000) % 10 == 0
    groups = groups_of(distances, relevant)
    assert value("p@10", groups) == pytest.approx(0.1)
    assert value("r_precision", groups) == pytest.approx(0.1)
    draw = np.random.default_rng(0)
    shuffled = [average_precision_score(draw.permutation(relevant), -np.arange(1000)) for _ in range(400)]
    assert value("map", groups) == pytest.approx(np.mean(shuffled), abs=4 * np.std(shuffled) / 20)


def test_no_hit_in_the_top_is_worth_nothing() -> None:
    groups = groups_of(np.arange(10), np.arange(10) == 9)
    assert value("map_hits@5", groups) == 0
    assert value("map_hits_excl@5", groups) == 0
    assert value("map@5", groups) == 0


def test_harmonic_differences_keep_their_precision_far_out() -> None:
    start = np.array([0, 0, 3, 63, 64, 10**6, 10**9])
    count = np.array([0, 1, 200, 2, 1, 3, 7])
    exact = [float(sum(Fraction(1, s + j) for j in range(1, c + 1))) for s, c in zip(start.tolist(), count.tolist())]
    np.testing.assert_allclose(harmonic_difference(start, count), exact, rtol=2e-13)


def test_place_of_a_tied_hit_follows_its_law_however_large_the_tie() -> None:
    for before, tied, relevant in [(0, 9, 4), (5, 12, 1), (3, 11, 11), (0, 60, 30), (7, 300, 2)]:
        for hit in range(1, relevant + 1):
            expected = sum(
                Fraction(
                    math.comb(j - 1, hit - 1) * math.comb(tied - j, relevant - hit),
                    math.comb(tied, relevant) * (before + j),
                )
                for j in range(hit, tied - relevant + hit + 1)
            )
            found = expected_inverse_rank(before, tied, relevant, hit)
            assert found == pytest.approx(float(expected), rel=1e-12)
    # One relevant item among a million tied: a uniform place, mean of 1/j.
    uniform = (special.digamma(10**6 + 1) + np.euler_gamma) / 10**6
    assert expected_inverse_rank(0, 10**6, 1, 1) == pytest.approx(uniform, rel=1e-13)


@pytest.mark.parametrize("floor", [0.0, 0.001, 0.02, 0.05])
def test_a_floor_spares_sums_and_is_told_the_truth(floor: float) -> None:
    for hit in range(1, 31):
        exact = expected_inverse_rank(4, 300, 30, hit)
        found = expected_inverse_rank(4, 300, 30, hit, floor)
        assert found == exact if exact > floor else exact <= found <= floor


def best_by_summing(groups: TieGroups, hits: int) -> float:
    """Return the best expected precision from a hit on: every hit of every group, its law summed by SciPy."""
    best = 0.0
    for before, tied, ahead, relevant in zip(*(column.tolist() for column in groups.arrays()[1:])):
        others = np.arange(tied - relevant + 1)
        for hit in range(max(1, hits - ahead), relevant + 1):
            law = stats.nhypergeom(tied, tied - relevant, hit).pmf(others) if tied > relevant else np.ones(1)
            best = max(best, float((ahead + hit) * (law / (before + hit + others)).sum()))
    return best


@pytest.mark.parametrize("seed", range(8))
def test_interpolated_precision_of_large_ties_is_the_best_of_all_their_hits(seed: int) -> None:
    draw = np.random.default_rng(seed)
    tied = draw.integers(1, 150, 4)
    # From chance to better and worse than chance: precision rises, falls and turns within a tie.
    relevant = np.maximum(1, tied * draw.choice([0.05, 0.1, 0.12, 0.5, 1.0], 4)).astype(np.int64)
    before = np.cumsum(draw.integers(0, 300, 4) + np.concatenate([[0], tied[:-1]]))
    ahead = np.cumsum(relevant) - relevant
    groups = TieGroups(np.array([0, 4]), before, tied, ahead, relevant, np.array([3000]), np.array([relevant.sum()]))
    levels = draw.permutation(11) / 10
    found = evaluate(groups, [validate_metric(f"interpolated_precision@{level:.1f}") for level in levels])[0]
    for level, precision in zip(levels, found):
        hits = max(1, math.ceil(Fraction(f"{level:.1f}") * int(relevant.sum())))
        assert precision == pytest.approx(best_by_summing(groups, hits), abs=1e-12)


def test_metrics_asked_for_together_equal_each_alone_whatever_their_order() -> None:
    draw = np.random.default_rng(3)
    groups = groups_of(draw.integers(0, 6, 200), draw.random(200) < 0.2)
    names = ["interpolated_precision@0.7", "map", "interpolated_precision@0.05", "mrr", "interpolated_precision@1"]
    together = evaluate(groups, [validate_metric(name) for name in names])[0]
    assert together.tolist() == [value(name, groups) for name in names]


@pytest.mark.parametrize("name", ["mapp", "map@0", "map@-1", "map@x", "map@", "p", "mrr@3", "recall@0.5", ""])
def test_names_that_are_no_metric_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="metric"):
        validate_metric(name)


@pytest.mark.parametrize("name", ["precision_at_recall", "precision_at_recall@1.5", "interpolated_precision@half"])
def test_recalls_lie_between_nothing_and_everything(name: str) -> None:
    with pytest.raises(InputError, match="recall from 0 to 1"):
        validate_metric(name)


def test_a_misspelt_metric_is_told_its_neighbours() -> None:
    with pytest.raises(InputError, match="map_hits_excl"):
        validate_metric("map_hit_excl@5")


def test_families_expand_to_eleven_points_and_repeats_are_dropped() -> None:
    names = expand_metrics(["map", "recall_precision", "map", "precision_at_recall@0.5"])
    assert names[:2] == ["map", "precision_at_recall@0.0"]
    assert len(names) == 12


def test_every_metric_is_documented_and_defined_here() -> None:
    tested = {name.partition("@")[0] for name in DEFINITIONS} | {"map@r", "interpolated_precision"}
    assert set(metrics.names()) == tested
    for name in metrics.names():
        assert metrics.get(name).compute.__doc__
