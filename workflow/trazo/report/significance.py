"""Which values of a table can be told apart, as `significance.csv` says; the tests themselves are the retrieval's."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from trazo.store import METHOD_COLUMNS, read_significance

# Of a paired randomisation test; above it, a difference is no more than chance may bring.
LEVEL = 0.05
Method = tuple[str, ...]
_Comparison = tuple[str, str, str]


@dataclass(frozen=True)
class Significance:
    """Tests between pairs of methods, by retrieval, metric and mean; a method is its `METHOD_COLUMNS`.

    Attributes
    ----------
    p
        By (retrieval, metric, mean), then by a pair of methods in either order.
    best
        By the same, the method with the highest mean.
    """

    p: dict[_Comparison, dict[tuple[Method, Method], float]] = field(default_factory=dict)
    best: dict[_Comparison, Method] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path | str) -> Significance:
        """Read `significance.csv`."""
        tests = cls()
        beaten: dict[_Comparison, dict[Method, int]] = {}
        for row in read_significance(path):
            key = (row["dataset"], row["metric"], row["average"])
            first = tuple(row[c] for c in METHOD_COLUMNS)
            other = tuple(row[f"other_{c}"] for c in METHOD_COLUMNS)
            pairs = tests.p.setdefault(key, {})
            pairs[first, other] = pairs[other, first] = float(row["p"])
            losses = beaten.setdefault(key, {})
            losses.setdefault(first, 0)
            losses.setdefault(other, 0)
            losses[other if float(row["difference"]) >= 0 else first] += 1
        for key, losses in beaten.items():
            tests.best[key] = min(losses, key=losses.__getitem__)
        return tests

    def between(self, dataset: str, metric: str, average: str, first: Method, other: Method) -> float | None:
        """Return the p value of the difference of two methods, None where they were not compared."""
        return self.p.get((dataset, metric, average), {}).get((first, other))

    def against_best(self, dataset: str, metric: str, average: str, method: Method) -> float | None:
        """Return the p value of a method's difference from the best one; None for the best, or without a test."""
        best = self.best.get((dataset, metric, average))
        return None if best is None else self.between(dataset, metric, average, method, best)
