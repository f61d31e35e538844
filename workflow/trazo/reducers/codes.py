"""The reducing step: from the features of queries and gallery to their codes, by a reducer fitted on the gallery."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from threadpoolctl import threadpool_limits

from trazo.errors import InputError
from trazo.progress import log
from trazo.provenance import describe
from trazo.reducers.contract import NONE, Reducer, ReducerChoice, reducer_choice
from trazo.store import Features, read_features, write_features

T = TypeVar("T")


def reduce_features(
    *,
    queries: Path | str,
    gallery: Path | str,
    output_queries: Path | str,
    output_gallery: Path | str,
    reducer: str | dict[str, Any],
    retrieval: str,
    code: str,
    threads: int = 1,
) -> None:
    """Fit a reducer on the gallery's features, and write the codes of both sides.

    Nothing is learned from the queries; in leave-one-out retrievals, whose gallery holds the queries, the fit sees
    every query, as one item among all others, and its class not at all.

    Parameters
    ----------
    queries, gallery
        `features.h5` of both sides; the same file for leave-one-out.
    output_queries, output_gallery
        The codes to write, laid out as features; logits are carried along for re-ranking.
    reducer
        Name of the reducer, or {name: options}.
    retrieval
        Name of the retrieval they are for, for the record.
    code
        Fingerprint of the code, for the record.
    threads
        CPU threads: sums are split among them.

    Raises
    ------
    InputError
        If the reducer does not fit the features, or makes something that is no number.
    """
    choice = reducer_choice(reducer)
    if choice is None:
        raise InputError(f"{NONE!r} reduces nothing; search the features themselves.")
    sides = {"gallery": read_features(gallery)}
    sides["queries"] = sides["gallery"] if Path(queries) == Path(gallery) else read_features(queries)
    _check(sides, choice)
    fitted = choice.make()
    fitted.load()
    with threadpool_limits(limits=max(1, threads)):
        seconds = {"gallery": {"fit": _timed(lambda: fitted.fit(sides["gallery"].values))[1]}}
        codes = {}
        for name, side in sides.items():
            if name == "queries" and side is sides["gallery"]:
                codes[name], took = codes["gallery"], 0.0
            else:
                codes[name], took = _timed(lambda side=side: fitted.transform(side.values))
            seconds[name] = {**seconds.get(name, {}), "transform": took}
    outputs = {"gallery": output_gallery, "queries": output_queries}
    for name, side in sides.items():
        _need_numbers(codes[name], side, choice)
        record = _record(side, choice, fitted, retrieval=retrieval, name=name, code=code, seconds=seconds[name])
        write_features(outputs[name], replace(side, values=codes[name], record=record))
    told = ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in fitted.facts().items())
    width = sides["gallery"].values.shape[1]
    log.info("%s: %d values to %d%s", choice.label, width, codes["gallery"].shape[1], f"; {told}" if told else "")


def _timed(work: Callable[[], T]) -> tuple[T, float]:
    begin = time.perf_counter()
    found = work()
    return found, time.perf_counter() - begin


def _check(sides: dict[str, Features], choice: ReducerChoice) -> None:
    """Refuse features that cannot be reduced, or that are of different widths."""
    widths = {name: side.values.shape[1] for name, side in sides.items()}
    packed = [name for name, side in sides.items() if side.values.dtype == np.uint8]
    if packed:
        raise InputError(f"{choice.name} reduces numbers, and the {packed[0]} are packed bits; use `reducers: [none]`.")
    if widths["queries"] != widths["gallery"]:
        raise InputError(
            f"{choice.name}: queries have {widths['queries']} values and the gallery {widths['gallery']}; expected the "
            "same features on both sides."
        )
    for side in sides.values():
        _need_numbers(side.values, side, None)
    choice.make().check(*sides["gallery"].values.shape)


def _need_numbers(values: np.ndarray, side: Features, choice: ReducerChoice | None) -> None:
    if values.dtype == np.uint8:
        return
    bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(bad):
        what = f"codes by {choice.label}" if choice else "features"
        raise InputError(
            f"{len(bad)} of {len(values)} {what} are no finite numbers, the first of {side.ids[bad[0]]}; look at what "
            "made the features: values this large or small mean a training that diverged."
        )


def _record(
    side: Features,
    choice: ReducerChoice,
    fitted: Reducer,
    *,
    retrieval: str,
    name: str,
    code: str,
    seconds: dict[str, float],
) -> dict[str, Any]:
    """Return how the codes of one side were made: the features' own key, and what reduced them."""
    made_by = side.record.get("settings", {}).get("key", {})
    about = {"retrieval": retrieval, "side": name, "reducer": choice.label, "method": choice.method}
    return describe(
        "reduce",
        settings={
            "key": {**made_by, **about},
            "reducer": {"name": choice.name, **choice.options.model_dump(mode="json")},
        },
        code=code,
        seconds=round(sum(seconds.values()), 3),
        **{f"seconds_{part}": round(value, 4) for part, value in seconds.items()},
        reducer_mib=round(fitted.memory_bytes() / (1 << 20), 4),
        **fitted.facts(),
    )
