"""`comparison.csv`: every published value of a study beside what this run measured, or why it measured nothing."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from trazo.config import Study
from trazo.report.measures import Measure, Summary, plain, read_measures, summarize
from trazo.report.published import PUBLISHED_COLUMNS, PublishedValue, matching, read_published
from trazo.store import atomic_path

_HEAD = tuple("published" if c == "value" else c for c in PUBLISHED_COLUMNS if c != "note")
COMPARISON_COLUMNS = (
    *_HEAD,
    "measured",
    "difference",
    "ci_low",
    "ci_high",
    "within_interval",
    "seeds",
    "measured_as",
    "why",
    "set_up",
    "note",
)


@dataclass(frozen=True)
class Compared:
    """A published value and the measured one in the same unit, or None and why.

    `measured_as` names what the measured value is of, where the published row calls it otherwise.
    """

    published: PublishedValue
    measured: Summary | None
    why: str = ""
    measured_as: str = ""

    @property
    def difference(self) -> float | None:
        """Measured minus published, in the published unit."""
        return None if self.measured is None else self.measured.value - self.published.value

    @property
    def within_interval(self) -> bool | None:
        """Whether the published value lies in the measured one's interval; None without one."""
        if self.measured is None or self.measured.ci_low is None or self.measured.ci_high is None:
            return None
        return self.measured.ci_low <= self.published.value <= self.measured.ci_high


def compared(study: Study, measures: list[Measure], published: list[PublishedValue]) -> list[Compared]:
    """Return every published value with its measured one, in the published order."""
    rows: list[Compared] = []
    kept: dict[tuple, list[Measure]] = {}
    for row in published:
        found, why = matching(row, study, measures, kept)
        summary = summarize(found)
        rows.append(Compared(row, summary.scaled(row.factor) if summary else None, why, _measured_as(row, found)))
    return rows


def _measured_as(row: PublishedValue, found: list[Measure]) -> str:
    if not found:
        return ""
    words = [
        f"{part} {row.ours(part)}"
        for part in ("model", "reducer", "size", "metric", "ranker")
        if row.ours(part) != row.of(part)
    ]
    epoch = plain("epoch", found[0].epoch)
    if row.epoch is not None and epoch != row.of("epoch"):
        words.append(f"epoch {epoch}")
    return ", ".join(words)


def compare(
    *,
    study: Study,
    metrics: Path,
    published: Path,
    output: Path,
    timings: Path | None = None,
    departures: Mapping[str, str] | None = None,
) -> None:
    """Write `comparison.csv`: a row for every published value of the study, measured or not.

    Parameters
    ----------
    study
        The study; `study.published` says how the published file speaks of it. Without it only a header is written.
    metrics, published
        `metrics.csv` of the run, and the published values.
    output
        Where to. `measured`, `difference` and the interval are in the published row's unit.
    timings
        `timings.csv` of the run, if there is one.
    departures
        How the set-up of a model differs from the published one, by model: the column `set_up` of its measured rows.
    """
    rows = compared(study, read_measures(metrics, timings), read_published(published, study))
    with atomic_path(output) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COMPARISON_COLUMNS, lineterminator="\n", restval="")
        writer.writeheader()
        writer.writerows(_cells(row, departures or {}) for row in rows)


def _cells(row: Compared, departures: Mapping[str, str]) -> dict[str, object]:
    source = row.published
    cells: dict[str, object] = {c: source.of(c) for c in PUBLISHED_COLUMNS if c != "value"}
    cells |= {"published": repr(source.value), "why": row.why, "measured_as": row.measured_as}
    if row.measured is not None:
        for key in ("ci_low", "ci_high"):
            bound = getattr(row.measured, key)
            cells[key] = "" if bound is None else repr(bound)
        cells["measured"] = repr(row.measured.value)
        cells["difference"] = repr(row.difference)
        cells["seeds"] = row.measured.seeds
        cells["set_up"] = departures.get(source.ours("model"), "")
        cells["within_interval"] = "" if row.within_interval is None else str(row.within_interval).lower()
    return cells
