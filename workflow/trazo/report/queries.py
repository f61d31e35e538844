"""The query browser's data: for every query what each method found, packed small enough to be carried by the page.

How it is shown and chosen from is in `templates/queries.js`, the pictures are in `thumbnails`.
"""

from __future__ import annotations

import base64
import gzip
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from trazo import store
from trazo.config import Retrieval, Study
from trazo.report.artifacts import Keyed, last_of_model
from trazo.report.measures import metric_label, queries_left_out
from trazo.report.series import sized_reducer_label
from trazo.report.story import number

# Lists of all retrievals together, before they are compressed: four bytes an item of a list.
MOST_BYTES = 4 << 20
DEPTHS = (20, 10)
MOST_METHODS = 12
_NONE = 2**16 - 1
# Of distances that are no whole numbers, which are kept in so many steps of their range.
_STEPS = _NONE - 1
_NO_REDUCER = "none"


@dataclass(frozen=True)
class Browsed:
    """Queries of one retrieval, with the lists of several methods.

    Attributes
    ----------
    retrieval
        The retrieval's name.
    queries, gallery
        What the items are of: `<dataset>/<split>`; without `pictured`, they are no images.
    query_rows, gallery_rows
        (Q,) and (G,) int64 positions in the splits of the queries and items that are carried.
    payload
        All that the page shows, as plain values.
    left_out
        What the page has to say of methods, queries and items that are not carried.
    """

    retrieval: str
    queries: str
    gallery: str
    pictured: bool
    query_rows: np.ndarray
    gallery_rows: np.ndarray
    payload: dict[str, Any]
    left_out: list[str] = field(default_factory=list)


def browsed_queries(study: Study, artifacts: Sequence[Keyed], *, most_bytes: int = MOST_BYTES) -> list[Browsed]:
    """Return the queries of every retrieval with what each method found, last weights and first seed.

    Lists have up to 20 items, or 10, and then only every second query is carried, every third, …, so that all lists
    together take at most `most_bytes` before they are compressed; of many methods those with the best mAP are carried.
    """
    rankings = [a for a in artifacts if a.step == "rank"]
    searched = [(r, mine) for r in study.retrievals if (mine := _methods(r, rankings, study))]
    return [_browsed(retrieval, mine, most_bytes // len(searched)) for retrieval, mine in searched]


def _methods(retrieval: Retrieval, rankings: Sequence[Keyed], study: Study) -> dict[str, Keyed]:
    """Return the rankings of a retrieval by the name of their method, in the study's order."""
    parts = ("model", "reducer", "distance", "ranker")
    groups: dict[tuple[str, ...], list[Keyed]] = {}
    for ranking in rankings:
        if ranking.of("retrieval") == retrieval.label:
            groups.setdefault(tuple(ranking.of(part) for part in parts), []).append(ranking)
    told = [len({key[place] for key in groups}) > 1 for place in range(len(parts))]
    # The model is what readers look for first, also where there is but one.
    told[0] = True
    models, found = study.methods, {}
    for key in sorted(groups, key=lambda key: (models.index(key[0]) if key[0] in models else len(models),)):
        words = [_reducer_words(name) if part == "reducer" else name for part, name in zip(parts, key)]
        name = " · ".join(word for word, own in zip(words, told) if own and word)
        found[name] = last_of_model(groups[key], key[0], study)
    return found


def _reducer_words(label: str) -> str:
    return "" if label in ("", _NO_REDUCER) else sized_reducer_label(label)


def _browsed(retrieval: Retrieval, methods: dict[str, Keyed], most: int) -> Browsed:
    rankings = {name: store.read_ranking(found.path) for name, found in methods.items()}
    scores = {name: _scores(ranking) for name, ranking in rankings.items()}
    left: list[str] = []
    if len(rankings) > MOST_METHODS:
        means = {name: -np.nanmean(own) if np.isfinite(own).any() else 0.0 for name, own in scores.items()}
        best = sorted(means, key=means.__getitem__)[:MOST_METHODS]
        left.append(f"The {MOST_METHODS} methods of {number(len(rankings))} with the best mAP are shown.")
        rankings = {name: own for name, own in rankings.items() if name in best}
    first = next(iter(rankings.values()))
    others = [n for n, r in rankings.items() if (r.query_ids, r.gallery_ids) != (first.query_ids, first.gallery_ids)]
    if others:
        left.append(f"{', '.join(others)}: of other items, not shown here.")
        rankings = {name: own for name, own in rankings.items() if name not in others}
    # A query that one method cannot answer (no relevant item in its fold, say) can still be looked at by the others.
    asked = np.flatnonzero(np.any([own.evaluated for own in rankings.values()], axis=0))
    deepest = max(own.top_indices.shape[1] for own in rankings.values())
    for depth in (min(deepest, wanted) for wanted in DEPTHS):
        every = max(1, -(-len(asked) * depth * len(rankings) * 4 // most))
        if every == 1:
            break
    rows = asked[_spread(first.query_labels[asked], every)]
    if len(asked) < len(first.query_labels):
        left.append(queries_left_out(len(first.query_labels) - len(asked), len(asked)))
    if every > 1:
        left.append(
            f"To keep the page small, {number(len(rows))} of {number(len(asked))} queries are here, as many of every "
            "class as its share."
        )
    lists = {name: own.top_indices[rows, :depth] for name, own in rankings.items()}
    same = first.query_ids == first.gallery_ids
    used = np.unique(np.concatenate([own[own >= 0] for own in map(np.ravel, lists.values())]))
    used = np.union1d(used, rows) if same else used
    payload = {
        "name": retrieval.label,
        "depth": depth,
        "classes": first.classes,
        "same": same,
        # Where the gallery holds the queries, it names them too.
        "queries": _items(
            retrieval.queries, rows, first.query_labels, first.query_objects, None if same else first.query_ids
        ),
        "gallery": _items(retrieval.gallery, used, first.gallery_labels, first.gallery_objects, first.gallery_ids),
        "relevant": _packed(first.relevant[rows], wide=True),
        "methods": [
            _method(name, rankings[name], scores[name][rows], np.where(own >= 0, np.searchsorted(used, own), -1), rows)
            for name, own in lists.items()
        ],
        "left": left,
    }
    return Browsed(
        retrieval.label, retrieval.queries, retrieval.gallery, bool(retrieval.models), rows, used,
        payload, left,
    )  # fmt: skip


def _scores(ranking: store.RankingArtifact) -> np.ndarray:
    """Return (Q,) what queries are judged by: average precision, or else the first metric; NaN where there is none."""
    values = ranking.values[:, _judge(ranking)].astype(np.float64) if ranking.metrics else np.full(len(
        ranking.query_labels), np.nan)  # fmt: skip
    return np.where(ranking.evaluated, values, np.nan)


def _judge(ranking: store.RankingArtifact) -> int:
    found = [place for place, name in enumerate(ranking.metrics) if name.partition("@")[0] == "map"]
    return found[0] if found else 0


def _spread(labels: np.ndarray, every: int) -> np.ndarray:
    """Return ascending positions of every n-th item of each class, so that small classes keep one."""
    kept = [np.flatnonzero(labels == one)[::every] for one in np.unique(labels)]
    return np.sort(np.concatenate(kept)) if kept else np.empty(0, np.int64)


def _items(
    reference: str, rows: np.ndarray, labels: np.ndarray, objects: np.ndarray | None, ids: Sequence[str] | None
) -> dict[str, Any]:
    return {
        "of": reference,
        "rows": None if np.array_equal(rows, np.arange(len(rows))) else _packed(rows, wide=True),
        "labels": _packed(labels[rows]),
        # Where the very object is sought, items of it are right, and not those of its class.
        "objects": None if objects is None else _packed(objects[rows], wide=True),
        "ids": None if ids is None else [ids[row] for row in rows.tolist()],
    }


def _method(
    name: str, ranking: store.RankingArtifact, scores: np.ndarray, items: np.ndarray, rows: np.ndarray
) -> dict[str, Any]:
    distances = ranking.top_distances[rows, : items.shape[1]].astype(np.float64)
    known = (items >= 0) & np.isfinite(distances)
    low = float(distances[known].min()) if known.any() else 0.0
    span = float(distances[known].max()) - low if known.any() else 0.0
    whole = bool(known.any()) and bool(np.all(distances[known] == np.rint(distances[known]))) and span < _STEPS
    step = 1.0 if whole else span / _STEPS or 1.0
    # What is not known is no number, and would warn when it becomes one.
    steps = np.where(known, np.rint((np.where(known, distances, low) - low) / step), _NONE)
    metric = ranking.metrics[_judge(ranking)] if ranking.metrics else ""
    wide = int(items.max(initial=0)) >= _NONE
    return {
        "name": name,
        "metric": "AP" if metric == "map" else metric_label(metric),
        "width": items.shape[1],
        "wide": wide,
        "items": _packed(np.where(items >= 0, items, 2**32 - 1 if wide else _NONE), wide=wide),
        "low": low,
        "step": step,
        "whole": whole,
        "distances": _packed(steps),
        "scores": _packed(np.where(np.isfinite(scores), np.rint(10_000 * np.nan_to_num(scores)), _NONE)),
    }


def _packed(values: np.ndarray, *, wide: bool = False) -> str:
    """Return whole numbers as gzipped little-endian 16-bit (`wide`: 32-bit) ones in base64, the same on every run."""
    kind = np.dtype("<u4" if wide else "<u2")
    return base64.b64encode(gzip.compress(np.asarray(values).astype(kind).tobytes(), mtime=0)).decode("ascii")
