"""Retrieval metrics, as the expectation over the order of tied items, from counts alone.

A metric is a pure function of `TieGroups`; nothing here knows distances, features or torch. Registering a function
is all it takes to add one. Notation of the formulas: a query has R relevant items among N; rel(i) is 1 if the
item at rank i is relevant; P(i) is the fraction of relevant items among the first i.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from trazo.errors import InputError
from trazo.registry import Registry, unknown_name


@dataclass(frozen=True)
class TieGroups:
    """What every metric needs of Q rankings: where relevant items stand, and what they are tied with.

    A group is a set of items at one distance of which at least one is relevant; a query's groups are in order of
    distance. Every query has at least one group.

    Attributes
    ----------
    starts : (Q + 1,) int64
        Query i's groups are `starts[i]:starts[i + 1]`.
    before, tied, relevant_before, relevant : (G,) int32 or int64
        Items strictly closer, items in the group, relevant items strictly closer, relevant items in the group.
    gallery_size, relevant_total : (Q,) int64
        N and R of each query, its own item not counted.
    """

    starts: np.ndarray
    before: np.ndarray
    tied: np.ndarray
    relevant_before: np.ndarray
    relevant: np.ndarray
    gallery_size: np.ndarray
    relevant_total: np.ndarray

    def sums(self, per_group: np.ndarray) -> np.ndarray:
        """Return the (Q,) float64 sums of a (G,) array over each query's groups."""
        return np.add.reduceat(np.asarray(per_group, np.float64), self.starts[:-1])

    def spread(self, per_query: np.ndarray | int) -> np.ndarray | int:
        """Return a (Q,) array (or a number, as it is) repeated for each query's groups, (G,)."""
        if np.ndim(per_query) == 0:
            return per_query
        return np.repeat(per_query, np.diff(self.starts))

    def arrays(self) -> tuple[np.ndarray, ...]:
        """Return the five arrays that the compiled loops take, in their order."""
        return self.starts, self.before, self.tied, self.relevant_before, self.relevant


@dataclass(frozen=True)
class Definition:
    """A metric as registered: `compute(groups, argument)` and what may follow the `@` in its name.

    `argument` is "none", "k", "optional k" (without it the whole ranking counts) or "recall". One that is `together`
    takes a list of L arguments at once, and returns (Q, L).
    """

    compute: Callable[..., np.ndarray]
    argument: str
    together: bool = False


@dataclass(frozen=True)
class Metric:
    """A metric as asked for: its full name, its definition and its argument."""

    name: str
    definition: Definition
    argument: int | Fraction | None

    @property
    def cutoff(self) -> int | None:
        """The k of the name, if it has one."""
        return self.argument if self.definition.argument in ("k", "optional k") else None


metrics: Registry[Definition] = Registry("metric")
RECALLS = tuple(f"{tenth / 10:.1f}" for tenth in range(11))
FAMILIES = {
    "recall_precision": tuple(f"precision_at_recall@{recall}" for recall in RECALLS),
    "recall_precision_interpolated": tuple(f"interpolated_precision@{recall}" for recall in RECALLS),
}


def metric(name: str, argument: str = "none", together: bool = False) -> Callable:
    """Return a decorator that registers a metric; `argument` and `together` as in `Definition`."""

    def keep(compute: Callable) -> Callable:
        metrics.register(name)(Definition(compute, argument, together))
        return compute

    return keep


def validate_metric(name: str) -> Metric:
    """Return the metric called `name`, such as `map`, `map@10` or `precision_at_recall@0.1`.

    Raises
    ------
    InputError
        If there is none, or what follows the `@` is missing, superfluous or out of range.
    """
    if name in metrics.names():
        base, argument = name, ""
    else:
        base, _, argument = str(name).partition("@")
    if base not in metrics.names():
        written = [_as_written(known) for known in metrics.names()]
        raise InputError(unknown_name("metric", name, [*written, *FAMILIES]))
    definition = metrics.get(base)
    kind = definition.argument
    if kind in ("k", "optional k") and re.fullmatch(r"[1-9][0-9]*", argument):
        return Metric(name, definition, int(argument))
    if kind == "recall" and re.fullmatch(r"[0-9]+(\.[0-9]+)?", argument) and Fraction(argument) <= 1:
        return Metric(name, definition, Fraction(argument))
    if kind in ("none", "optional k") and base == name:
        return Metric(name, definition, None)
    expected = {
        "none": f"{base!r} takes nothing after its name",
        "k": f"{base!r} needs a whole number from 1 after an '@', such as '{base}@10'",
        "optional k": f"{base!r} takes nothing, or a whole number from 1 after an '@', such as '{base}@10'",
        "recall": f"{base!r} needs a recall from 0 to 1 after an '@', such as '{base}@0.5'",
    }[kind]
    raise InputError(f"metric {name!r} cannot be read: {expected}.")


def _as_written(base: str) -> str:
    kind = metrics.get(base).argument
    return base + {"k": "@k", "recall": "@recall"}.get(kind, "")


def expand_metrics(names: Iterable[str]) -> list[str]:
    """Return the metric names with families written out (`recall_precision`: 11 points) and repeats dropped.

    Raises
    ------
    InputError
        If one of them is no metric; see `validate_metric`.
    """
    expanded: dict[str, None] = {}
    for name in names:
        for member in FAMILIES.get(name, (name,)):
            expanded[validate_metric(member).name] = None
    return list(expanded)


def evaluate(groups: TieGroups, asked: Sequence[Metric]) -> np.ndarray:
    """Return the metrics of every query, (Q, M) float64."""
    queries = len(groups.starts) - 1
    values = np.empty((queries, len(asked)), np.float64)
    if not queries:
        return values
    joint: dict[Definition, list[int]] = {}
    for column, each in enumerate(asked):
        if each.definition.together:
            joint.setdefault(each.definition, []).append(column)
        else:
            values[:, column] = each.definition.compute(groups, each.argument)
    for definition, columns in joint.items():
        values[:, columns] = definition.compute(groups, [asked[column].argument for column in columns])
    return values


def hits_in_top(groups: TieGroups, cutoff: np.ndarray | int) -> np.ndarray:
    """Return the expected number of relevant items among the first `cutoff` of each query, (Q,) float64."""
    inside = np.clip(groups.spread(cutoff) - groups.before, 0, groups.tied)
    return groups.sums(groups.relevant * (inside / groups.tied))


def harmonic_difference(start: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Return 1/(start+1) + … + 1/(start+count), to nearly full relative precision however large `start` is."""
    table_size = 64
    table = np.concatenate([[0.0], np.cumsum(1.0 / np.arange(1, table_size + 1))])
    end = start + count
    near = table[np.minimum(end, table_size)] - table[np.minimum(start, table_size)]
    # H(n) = γ + ln(n + ½) + 1/24(n + ½)² − 7/960(n + ½)⁴ + 31/8064(n + ½)⁶ − …
    low = np.maximum(start, table_size) + 0.5
    high = np.maximum(end, table_size) + 0.5

    def correction(x: np.ndarray) -> np.ndarray:
        square = 1.0 / (x * x)
        return square * (1 / 24 - square * (7 / 960 - square * (31 / 8064)))

    return near + np.log1p((high - low) / low) + (correction(high) - correction(low))


def precisions_at_hits(groups: TieGroups, cutoff: np.ndarray | int | None, inclusive: bool = True) -> np.ndarray:
    """Return the expected sum of P(i) over the relevant ranks i up to `cutoff`, (Q,) float64.

    In a group of t items, r of them relevant, after b items, a of them relevant, the j-th place is relevant with
    probability r/t, and then a + 1 + (j−1)(r−1)/(t−1) of the first b + j are relevant on average. With
    c = (r−1)/(t−1) and H the harmonic numbers, the first m places add (r/t)·[(a + 1 − c(b+1))·(H(b+m) − H(b)) + c·m].
    Not `inclusive`: the hit itself is left out of its precision, a in place of a + 1.
    """
    ahead = groups.relevant_before + np.float64(inclusive)
    added = ahead / (groups.before + 1)
    many = np.flatnonzero(groups.tied > 1)
    if cutoff is not None:
        limit = groups.spread(cutoff)
        added[groups.before >= limit] = 0.0
    if many.size:
        before, tied, relevant = groups.before[many], groups.tied[many], groups.relevant[many]
        inside = tied
        if cutoff is not None:
            inside = np.clip((limit if np.ndim(limit) == 0 else limit[many]) - before, 0, tied)
        slope = (relevant - 1) / (tied - 1)
        harmonic = harmonic_difference(before, inside)
        added[many] = relevant / tied * ((ahead[many] - slope * (before + 1)) * harmonic + slope * inside)
    return groups.sums(added)


@metric("map", "optional k")
def average_precision(groups: TieGroups, k: int | None) -> np.ndarray:
    """Mean average precision. `map`: Σ_i P(i)·rel(i) / R. `map@k`: the sum over i ≤ k, divided by min(k, R)."""
    relevant = groups.relevant_total
    return precisions_at_hits(groups, k) / (relevant if k is None else np.minimum(k, relevant))


@metric("map_hits", "optional k")
def average_precision_over_hits(groups: TieGroups, k: int | None) -> np.ndarray:
    """Mean average precision over the hits found: Σ_{i≤k} P(i)·rel(i) / Σ_{i≤k} rel(i), 0 without a hit.

    Without k it is `map`. Studies 2 and 3 (Garrido; Hernández).
    """
    return _over_hits(groups, k, inclusive=True)


@metric("map_hits_excl", "optional k")
def average_precision_over_hits_exclusive(groups: TieGroups, k: int | None) -> np.ndarray:
    """As `map_hits`, with the hits strictly before rank i, over i, in place of P(i). Study 2 (Garrido).

    A perfect ranking does not score 1.
    """
    return _over_hits(groups, k, inclusive=False)


def _over_hits(groups: TieGroups, k: int | None, inclusive: bool) -> np.ndarray:
    if k is None:
        return precisions_at_hits(groups, None, inclusive) / groups.relevant_total
    expected = precisions_at_hits(groups, k, inclusive)
    found = hits_in_top(groups, k)
    result = np.divide(expected, found, out=np.zeros_like(expected), where=found > 0)
    # Only where the cut goes through a tie is the number of hits itself a matter of chance.
    cut = groups.sums((groups.before < k) & (groups.before + groups.tied > k)) > 0
    if cut.any():
        from trazo.retrieval.kernels import divide_by_hits

        exact = np.empty_like(result)
        divide_by_hits(*groups.arrays(), k, int(inclusive), exact)
        result[cut] = exact[cut]
    return result


@metric("p", "k")
def precision(groups: TieGroups, k: int) -> np.ndarray:
    """Precision of the top k: Σ_{i≤k} rel(i) / k."""
    return hits_in_top(groups, k) / k


@metric("recall", "k")
def recall(groups: TieGroups, k: int) -> np.ndarray:
    """Recall of the top k: Σ_{i≤k} rel(i) / R."""
    return hits_in_top(groups, k) / groups.relevant_total


@metric("mrr")
def reciprocal_rank(groups: TieGroups, _: None) -> np.ndarray:
    """Mean reciprocal rank: 1 / rank of the first relevant item."""
    return precision_at_hit(groups, np.ones_like(groups.relevant_total))


@metric("r_precision")
def r_precision(groups: TieGroups, _: None) -> np.ndarray:
    """R-precision: Σ_{i≤R} rel(i) / R."""
    return hits_in_top(groups, groups.relevant_total) / groups.relevant_total


@metric("map@r")
def map_at_r(groups: TieGroups, _: None) -> np.ndarray:
    """MAP@R: Σ_{i≤R} P(i)·rel(i) / R (Musgrave, Belongie and Lim 2020, "A metric learning reality check")."""
    return precisions_at_hits(groups, groups.relevant_total) / groups.relevant_total


@metric("ndcg", "optional k")
def normalised_gain(groups: TieGroups, k: int | None) -> np.ndarray:
    """Normalised discounted cumulative gain: Σ_{i≤k} rel(i)/log2(i+1), over that of a perfect ranking.

    Binary relevance; without k the whole ranking counts.
    """
    size = int(groups.gallery_size.max())
    discounts = 1.0 / np.log2(np.arange(2, size + 2))
    summed = np.concatenate([[0.0], np.cumsum(discounts)])
    limit = size if k is None else k
    inside = np.clip(limit - groups.before, 0, groups.tied)
    share = (summed[groups.before + inside] - summed[groups.before]) * (groups.relevant / groups.tied)
    return groups.sums(share) / summed[np.minimum(limit, groups.relevant_total)]


def precision_at_hit(groups: TieGroups, hits: np.ndarray) -> np.ndarray:
    """Return the expected precision at the rank where the `hits`-th relevant item stands, (Q,) float64."""
    from trazo.retrieval.kernels import precision_at_hits

    out = np.empty(len(hits), np.float64)
    precision_at_hits(*groups.arrays(), np.asarray(hits, np.int64), out)
    return out


@metric("precision_at_recall", "recall")
def precision_at_recall(groups: TieGroups, level: Fraction) -> np.ndarray:
    """Precision at the first rank where n = ⌊level·R⌋ relevant items are found; 1 where n = 0. Not interpolated.

    Study 1 (Alday and Neira), which sets it to 1 at recall 0.
    """
    hits = groups.relevant_total * level.numerator // level.denominator
    return np.where(hits > 0, precision_at_hit(groups, np.maximum(hits, 1)), 1.0)


@metric("interpolated_precision", "recall", together=True)
def interpolated_precision(groups: TieGroups, levels: Sequence[Fraction]) -> np.ndarray:
    """Interpolated precision: the best P(i) over the ranks i with recall ≥ level (11-point curves; study 4).

    With ties, the best over n ≥ level·R of the expected precision at the n-th relevant item: the expectation of
    the maximum itself has no closed form. It never exceeds that expectation; without ties it is the textbook
    value.
    """
    from trazo.retrieval.kernels import best_precisions_from_hits

    order = sorted(range(len(levels)), key=levels.__getitem__)
    relevant = groups.relevant_total
    ascending = [levels[place] for place in order]
    hits = np.column_stack([-(-relevant * level.numerator // level.denominator) for level in ascending])
    out = np.empty(hits.shape, np.float64)
    best_precisions_from_hits(*groups.arrays(), np.maximum(hits, 1), out)
    return out[:, np.argsort(order)]
