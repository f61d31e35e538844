"""The step of a map: from features on disk to coordinates on a plane, and how far they can be trusted."""

from __future__ import annotations

import time
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from trazo.errors import InputError
from trazo.maps.methods import method_of
from trazo.maps.quality import check_classes, check_neighbours, map_quality
from trazo.progress import log
from trazo.provenance import describe
from trazo.store import MapArtifact, read_features, write_map, write_metrics


def map_features(
    *,
    features: Path | str,
    output: Path | str,
    metrics: Path | str,
    study: str,
    name: str,
    settings: dict[str, Any],
    code: str,
) -> None:
    """Lay features out on a plane; write the map, and its quality as tidy rows.

    Computes in one thread, so that the number of cores changes no digit. The rows carry the map's name as `reducer`
    and 2 as `size`, `silhouette` too: it is of the features, but of the items of this map.

    Parameters
    ----------
    features
        `features.h5`: (N, D) float32.
    output, metrics
        The map and the tidy CSV to write.
    study, name
        Names that the rows carry: the study's, and the map's in it.
    settings
        method, options, seed, most (items drawn at most), neighbours (of the trustworthiness).
    code
        Fingerprint of the code, for the record.

    Raises
    ------
    InputError
        If the features are packed bits, of one value, or all equal; if there are too few items or classes.
    """
    from threadpoolctl import threadpool_limits

    started = time.perf_counter()
    data = read_features(features)
    key = data.record.get("settings", {}).get("key", {})
    rows = drawn_rows(data.ids, settings["most"], settings["seed"])
    values, labels = data.values[rows], data.labels[rows]
    _check_values(values)
    check_classes(labels, data.classes)
    check_neighbours(settings["neighbours"], len(rows))
    method = method_of(settings["method"], settings["options"], settings["seed"])
    method.check(len(rows))
    with threadpool_limits(1):
        coordinates = np.asarray(method.lay_out(values), dtype=np.float32)
        if not np.isfinite(coordinates).all():
            raise InputError(f"{settings['method']} gave coordinates that are no numbers; try other `options`.")
        quality = map_quality(values, coordinates, labels, settings["neighbours"])
    seconds = round(time.perf_counter() - started, 3)
    write_map(
        output,
        MapArtifact(
            coordinates=coordinates,
            rows=rows,
            labels=labels,
            ids=[data.ids[row] for row in rows],
            classes=data.classes,
            quality=quality,
            title=method.title,
            record=describe(
                "map", settings={**settings, "key": {**key, "map": name}}, code=code, seconds=seconds, items=len(rows)
            ),
        ),
    )
    constant = {
        "study": study,
        "dataset": "-".join(str(key[part]) for part in ("dataset", "split") if key.get(part)),
        **{part: key.get(part) for part in ("model", "stage", "epoch", "seed")},
        "reducer": name,
        "size": 2,
        "queries": len(rows),
    }
    write_metrics(metrics, (constant | {"metric": metric, "value": value} for metric, value in quality.items()))
    shown = ", ".join(f"{metric} {value:.3f}" for metric, value in quality.items())
    of_all = f" out of {len(data)}" if len(rows) < len(data) else ""
    log.info("%d items%s of %d values, %.1f s: %s", len(rows), of_all, values.shape[1], seconds, shown)


def drawn_rows(ids: Sequence[str], most: int, seed: int) -> np.ndarray:
    """Return the positions (M,) int64, ascending, of the items that a map shows: all, or `most` of them.

    An item is drawn by a hash of its name and the seed, so that neither the order of items nor another model changes
    which they are.
    """
    if len(ids) <= most:
        return np.arange(len(ids))
    key = f"items of a map {seed}".encode()
    hashed = np.frombuffer(b"".join(blake2b(name.encode(), digest_size=8, key=key).digest() for name in ids), "<u8")
    return np.sort(np.argsort(hashed, kind="stable")[:most])


def _check_values(values: np.ndarray) -> None:
    if values.dtype == np.uint8:
        raise InputError("these features are packed bits, and a map is drawn of numbers; leave it out for them.")
    if values.shape[1] < 2:
        raise InputError("features of one value need no map: they lie on a line already; expected two values or more.")
    if len(values) and (values == values[0]).all():
        raise InputError(
            f"all {len(values)} features are equal, so that there is nothing to map; the network behind them tells no "
            "two items apart: was it trained, and did its training converge?"
        )
