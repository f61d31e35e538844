"""The reducing step: from the features of queries and gallery to their codes, by reducers fitted on the gallery.

Fast to start, since a study has hundreds of such jobs: what a reducer computes with is imported by the reducer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from threadpoolctl import threadpool_limits

from trazo.config import Written
from trazo.errors import InputError
from trazo.folds import check_fitted, drawn_rows, searched_rows
from trazo.progress import log
from trazo.provenance import describe
from trazo.reducers.contract import NONE, Reducer, ReducerChoice, reducer_choice
from trazo.store import Codes, CodesArtifact, Features, read_features, write_codes

T = TypeVar("T")


def reduce_features(
    *,
    queries: Path | str,
    gallery: Path | str,
    codes: Path | str,
    fitted: Path | str,
    reducers: Mapping[str, Written],
    retrieval: str,
    batch: str,
    code: str,
    folds: int = 0,
    fold: int = 0,
    threads: int = 1,
) -> None:
    """Fit reducers on the gallery's features, and write the codes of both sides and the fitted reducers.

    Nothing is learned from the queries; in leave-one-out retrievals, whose gallery holds the queries, the fit sees
    every query, as one item among all others, and its class not at all. Of a fold, the fit sees all items but the
    fold's, and those are the gallery that is searched; in leave-one-out they are the queries as well.

    Parameters
    ----------
    queries, gallery
        `features.h5` of both sides; the same file for leave-one-out.
    codes
        The codes to write, `store.CodesArtifact`.
    fitted
        Folder to write the fitted reducers to, a file `<label>.h5` each (`contract.read_reducer`).
    reducers
        By what paths call them: names, or {name: options}; all of one name, as they are fitted together.
    retrieval, batch
        Names of the retrieval and of these reducers together, for the record.
    code
        Fingerprint of the code, for the record.
    folds, fold
        Into how many folds the gallery falls, and which of them is searched, from 1; both 0: the whole gallery.
    threads
        CPU threads: sums are split among them.

    Raises
    ------
    InputError
        If a reducer does not fit the features, or makes something that is no number; or if a class is smaller than the
        folds.
    """
    choices = _choices(reducers)
    stored = read_features(gallery)
    asked = stored if Path(queries) == Path(gallery) else read_features(queries)
    _check(asked, stored, choices)
    if not min(folds, 1) <= fold <= folds:
        raise InputError(
            f"got fold {fold} of {folds}; expected {f'1 to {folds}' if folds else '0, the whole gallery'}."
        )
    rows = searched_rows(stored.labels, stored.ids, folds, classes=stored.classes)[max(fold, 1) - 1]
    learned = np.setdiff1d(np.arange(len(stored)), rows) if fold else rows
    searched = stored.values[rows] if fold else stored.values
    gallery_ids = [stored.ids[row] for row in rows]
    query_ids = gallery_ids if asked is stored else asked.ids
    choices[0].make().load()
    made_by = stored.record.get("settings", {}).get("key", {})
    about = {**made_by, "retrieval": retrieval, **({"fold": fold} if fold else {})}
    # Looking up versions takes longer than many a fit.
    described = describe("reduce", settings={}, code=code)
    begin = time.perf_counter()
    found: dict[str, Codes] = {}
    with threadpool_limits(limits=max(1, threads)):
        for choice, reducer, fit in _fitted(choices, stored, learned):
            made = _applied(choice, reducer, asked, searched, same=asked is stored)
            _need_numbers(made.gallery, gallery_ids, f"codes by {choice.label}")
            if made.queries is not None:
                _need_numbers(made.queries, query_ids, f"codes by {choice.label}")
            made.record.update(fit)
            found[choice.label] = made
            settings = {
                "key": {**about, "reducer": choice.label},
                "folds": folds,
                "reducer": _settings(choice),
            }
            reducer.save(Path(fitted) / f"{choice.label}.h5", {**described, "settings": settings, "figures": fit})
            told = ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in made.record["facts"].items())
            log.info("%s: %d values to %d bits%s", choice.label, stored.values.shape[1], made.record["bits"],
                     f"; {told}" if told else "")  # fmt: skip
    settings = {
        "key": {**about, "reducer": batch},
        "folds": folds,
        "reducers": {choice.label: _settings(choice) for choice in choices},
    }
    seconds = round(time.perf_counter() - begin, 3)
    figures = {"seconds": seconds, **_figures([made.record for made in found.values()])}
    write_codes(
        codes,
        CodesArtifact(
            codes=found,
            rows=rows,
            query_ids=query_ids,
            gallery_ids=gallery_ids,
            record={**described, "settings": settings, "figures": figures},
        ),
    )


def _settings(choice: ReducerChoice) -> dict[str, Any]:
    return {"name": choice.name, **choice.options.model_dump(mode="json")}


def _choices(reducers: Mapping[str, Written]) -> list[ReducerChoice]:
    """Return the reducers of a batch, which are all of one kind."""
    choices = [reducer_choice(written) for written in reducers.values()]
    if not choices or None in choices:
        raise InputError(f"{NONE!r} reduces nothing; search the features themselves.")
    names = list(dict.fromkeys(choice.name for choice in choices))
    if len(names) > 1:
        raise InputError(f"got {' and '.join(names)}, which are not fitted together; give each a job of its own.")
    return choices


def _fitted(
    choices: list[ReducerChoice], stored: Features, learned: np.ndarray
) -> Iterator[tuple[ReducerChoice, Reducer, dict[str, Any]]]:
    """Yield fitted reducers, and how they were fitted: those that learn from the same items together."""
    shares = dict.fromkeys(choice.options.share for choice in choices)
    for share in shares:
        group = [choice for choice in choices if choice.options.share == share]
        rows = learned[drawn_rows([stored.ids[row] for row in learned], share)]
        values = stored.values if len(rows) == len(stored) else stored.values[rows]
        for choice in group:
            check_fitted(choice.make().check, len(stored), *values.shape)
        kind = group[0].kind
        several, seconds = _timed(lambda: kind.fit_several([c.options for c in group], values))  # noqa: B023
        about = {"seconds_fit": round(seconds, 4), "fitted_together": len(group), "fitted_items": len(rows)}
        for choice, reducer in zip(group, several, strict=True):
            yield choice, reducer, about


def _applied(choice: ReducerChoice, reducer: Reducer, asked: Features, searched: np.ndarray, *, same: bool) -> Codes:
    """Return the codes of both sides by a fitted reducer; `same`: queries are searched among themselves."""
    gallery, seconds = _timed(lambda: reducer.transform(searched))
    queries, took = gallery, 0.0
    # Where queries are made into what the gallery is, their codes are there already.
    if not same or type(reducer).transform_queries is not Reducer.transform_queries:
        values = searched if same else asked.values
        queries, took = _timed(lambda: reducer.transform_queries(values))
        if queries is values:
            queries = None
    width = searched.shape[1]
    record = {
        "label": choice.label,
        "method": choice.method,
        "name": choice.name,
        "options": choice.options.model_dump(mode="json"),
        "bits": 8 * reducer.code_bytes(1, width),
        "codes_bytes": reducer.code_bytes(len(searched), width),
        "reducer_bytes": reducer.memory_bytes(),
        "seconds_transform_gallery": round(seconds, 4),
        "seconds_transform_queries": round(took, 4),
        "facts": reducer.facts(),
    }
    return Codes(queries, gallery, record)


def _timed(work: Callable[[], T]) -> tuple[T, float]:
    begin = time.perf_counter()
    found = work()
    return found, time.perf_counter() - begin


def _figures(records: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what the reducers of a batch took and found, for the record: of several, from the least to the most."""
    figures: dict[str, Any] = {"reducers": len(records)} if len(records) > 1 else {}
    tables = [{**record, **record["facts"], "reducer_mib": record["reducer_bytes"] / (1 << 20)} for record in records]
    kept = ("fitted_items", "seconds_fit", "seconds_transform_gallery", "seconds_transform_queries", "reducer_mib")
    for name in (*kept, *dict.fromkeys(name for record in records for name in record["facts"])):
        values = sorted({round(table[name], 6) for table in tables if name in table})
        figures[name] = values[0] if len(values) == 1 else f"{values[0]:.4g} to {values[-1]:.4g}"
    return figures


def _check(asked: Features, stored: Features, choices: list[ReducerChoice]) -> None:
    """Refuse features that no reducer can take, or that are of different widths."""
    name = choices[0].name
    sides = {"queries": asked, "gallery": stored}
    packed = [side for side, features in sides.items() if features.values.dtype == np.uint8]
    if packed:
        raise InputError(f"{name} reduces numbers, and the {packed[-1]} are packed bits; use `reducers: [none]`.")
    widths = [features.values.shape[1] for features in sides.values()]
    if widths[0] != widths[1]:
        raise InputError(
            f"{name}: queries have {widths[0]} values and the gallery {widths[1]}; expected the same features on both "
            "sides."
        )
    for features in sides.values():
        _need_numbers(features.values, features.ids, "features")


def _need_numbers(values: np.ndarray, ids: list[str], what: str) -> None:
    """Refuse features or codes that are no numbers; `what` they are is for the message."""
    if values.dtype == np.uint8:
        return
    bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(bad):
        raise InputError(
            f"{len(bad)} of {len(values)} {what} are no finite numbers, the first of {ids[bad[0]]}; look at what "
            "made the features: values this large or small mean a training that diverged."
        )
