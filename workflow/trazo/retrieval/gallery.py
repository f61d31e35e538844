"""The ranking step: from features on disk to `ranking.h5`, and its metrics as tidy rows with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trazo.device import Stopwatch, choose_device
from trazo.errors import InputError
from trazo.progress import bar, log
from trazo.provenance import describe
from trazo.retrieval.distances import distances
from trazo.retrieval.labels import label_rows
from trazo.retrieval.lists import Searched, cutoffs, search, vote
from trazo.retrieval.metrics import expand_metrics, validate_metric
from trazo.retrieval.rankers import EXACT, RankerChoice, ranker_choice
from trazo.retrieval.ranking import Ranking, rank
from trazo.retrieval.statistics import metric_rows
from trazo.sizes import FLOAT_BITS, equal_floats
from trazo.store import Features, RankingArtifact, read_features, write_metrics, write_ranking


def rank_gallery(
    *,
    queries: Path | str,
    gallery: Path | str,
    ranking: Path | str,
    metrics: Path | str,
    study: str,
    retrieval: str,
    distance: str,
    settings: dict[str, Any],
    code: str,
    ranker: str | dict[str, Any] = EXACT,
    device: str = "auto",
    memory_mib: int = 512,
    threads: int = 1,
) -> None:
    """Search the gallery for all queries; write the ranking and the metrics.

    Parameters
    ----------
    queries, gallery
        `features.h5` of both sides, or their codes; the same file for leave-one-out.
    ranking, metrics
        `ranking.h5` and the tidy CSV to write.
    study, retrieval
        Names that the rows carry.
    distance
        Name of the distance.
    settings
        queries and gallery (as `<dataset>/<split>`), leave_one_out, metrics, top, rerank, votes, relevant.
    code
        Fingerprint of the code, for the record.
    ranker
        Name of the ranker, or {name: options}. One that returns the nearest items only gives the metrics with a k.
    device, memory_mib, threads
        Where to compute, working memory in MiB beyond the features, and CPU threads.

    Raises
    ------
    InputError
        If the features cannot be ranked; see `ranking.rank`.
    """
    chosen = choose_device(device)
    torch.set_num_threads(max(1, threads))
    asked = read_features(queries)
    searched = asked if settings["leave_one_out"] else read_features(gallery)
    query_labels, gallery_labels, classes = _joint_labels(asked, searched)
    by_object = settings.get("relevant", "class") == "instance"
    sought = _objects(asked, searched, retrieval) if by_object else (query_labels, gallery_labels)
    if settings["leave_one_out"] and len(searched) == 1:
        raise InputError(
            f"{retrieval}: the gallery has one item, and a query leaves itself out, so that nothing is left to rank; "
            "expected two items of a class at least."
        )
    _check_kind(asked, searched, distance)
    choice = ranker_choice(ranker)
    if choice.kind.whole:
        _warm_up(searched.values, settings, distance, str(chosen))
    watch = Stopwatch(chosen)
    label = choice.label + (f"+{settings['rerank']}" if settings["rerank"] != "none" else "")
    with bar(len(asked), f"rank by {distance}", "query") as progress:
        found, listed = _found(
            choice,
            asked,
            searched,
            settings,
            threads=threads,
            query_labels=sought[0],
            gallery_labels=sought[1],
            distance=distance,
            leave_one_out=np.arange(len(asked)) if settings["leave_one_out"] else None,
            top=_list_length(settings, len(searched)),
            device=str(chosen),
            memory_mib=memory_mib,
            progress=progress.update,
        )
    if not found.evaluated.any():
        why = _why_no_object(asked, searched) if by_object else _why_none(asked, searched, settings["leave_one_out"])
        raise InputError(f"{retrieval}: {why}")
    if found.excluded:
        log.info("%d of %d queries have no relevant item and are left out", found.excluded, len(asked))
    made_by = asked.record.get("settings", {}).get("key", {})
    key = {**{name: made_by.get(name) for name in ("model", "stage", "epoch", "seed")}, "retrieval": retrieval}
    key["reducer"] = made_by.get("reducer", "none")
    record = describe(
        "rank",
        settings={
            "key": {
                **key,
                "queries": settings["queries"],
                "gallery": settings["gallery"],
                "distance": distance,
                "ranker": label,
            },
            **settings,
        },
        code=code,
        **watch.figures(),
        **{f"seconds_{part}": round(value, 3) for part, value in found.seconds.items()},
        milliseconds_per_query=round(1000 * _seconds_searching(found) / len(asked), 4),
        excluded_queries=found.excluded,
        **(_costs(listed) if listed else {}),
    )
    counts = settings["votes"]
    votes = np.column_stack([vote(found.top_indices, gallery_labels, n) for n in counts]) if counts else None
    write_ranking(
        ranking,
        RankingArtifact(
            metrics=found.metrics,
            values=found.values,
            evaluated=found.evaluated,
            relevant=found.relevant,
            top_indices=found.top_indices,
            top_distances=found.top_distances,
            query_labels=query_labels,
            gallery_labels=gallery_labels,
            query_ids=asked.ids,
            gallery_ids=searched.ids,
            classes=classes,
            record=record,
            votes=votes,
            vote_counts=counts,
            query_objects=sought[0] if by_object else None,
            gallery_objects=sought[1] if by_object else None,
        ),
    )
    width = searched.values.shape[1]
    bits = width * (8 if searched.values.dtype == np.uint8 else FLOAT_BITS)
    constant = {
        "study": study,
        "dataset": retrieval,
        **{name: made_by.get(name) for name in ("model", "stage", "epoch", "seed")},
        "reducer": made_by.get("method", "none"),
        "size": equal_floats(bits),
        "bits": bits,
        "ranker": label,
        "distance": distance,
    }
    measured = [(found.metrics, found.values)]
    if votes is not None:
        # Every query is classified, one without a relevant item wrongly.
        right = votes == query_labels[:, None]
        measured.append(([f"knn_accuracy@{count}" for count in counts], right.astype(np.float64)))
    if listed:
        measured.append(([f"recall_of_exact@{listed.depth}"], listed.shares[:, None]))
    rows = [row for part in measured for row in metric_rows(*part, query_labels, classes)]
    if counts:
        rows += label_rows(found.top_indices, query_labels, gallery_labels, classes, counts)
    write_metrics(metrics, (constant | row for row in rows))
    log.info("%s", _sentence(found))


def _found(
    choice: RankerChoice, asked: Features, searched: Features, settings: dict[str, Any], *, threads: int, **task: Any
) -> tuple[Ranking, Searched | None]:
    """Return what the chosen ranker finds; of one that returns lists, also what they cost and miss."""
    if choice.kind.whole:
        groups = _predictions(asked, searched) if settings["rerank"] != "none" else None
        ties = tie_order(searched.ids)
        metrics = settings["metrics"]
        return rank(asked.values, searched.values, metrics=metrics, groups_first=groups, tie_order=ties, **task), None
    ranker = choice.kind(choice.options, threads=threads)
    listed = search(ranker, asked.values, searched.values, metrics=list(cutoffs(settings["metrics"])), **task)
    return listed.ranking, listed


def _warm_up(values: np.ndarray, settings: dict[str, Any], distance: str, device: str) -> None:
    """Rank a handful of items, so that loading what is compiled, once a process, is not counted as searching."""
    few = values[:8]
    metrics = [name for name in expand_metrics(settings["metrics"]) if validate_metric(name).cutoff is None]
    groups = (np.zeros(len(few), np.int64),) * 2 if settings["rerank"] != "none" else None
    try:
        rank(
            few,
            few,
            query_labels=np.arange(len(few)) % 2,
            gallery_labels=np.arange(len(few)) % 2,
            distance=distance,
            metrics=metrics or ["map"],
            groups_first=groups,
            top=1,
            device=device,
        )
    except InputError:
        # Whatever is wrong with them is said when all are ranked.
        return


def tie_order(ids: Sequence[str]) -> np.ndarray:
    """Return numbers, (N,) uint64, by which items of one distance are listed: hashes of their ids.

    Neither an item's position nor its class is to decide: a gallery sorted by class would make every tied vote the
    first class's.
    """
    hashed = (blake2b(name.encode(), digest_size=8, key=b"order of tied items").digest() for name in ids)
    return np.frombuffer(b"".join(hashed), dtype="<u8")


def _seconds_searching(found: Ranking) -> float:
    """Return the time spent on queries: an index is built once for all of them."""
    return sum(seconds for part, seconds in found.seconds.items() if part != "build")


def _list_length(settings: dict[str, Any], size: int) -> int:
    """Return how many of the nearest items to keep: for pictures as many as there are, for votes all they need."""
    ranked = size - int(settings["leave_one_out"])
    most = max(settings["votes"], default=0)
    if most > ranked:
        raise InputError(f"votes: {most} nearest items are to vote, and the gallery has {ranked} to rank.")
    return max(min(settings["top"], ranked), most)


def _costs(listed: Searched) -> dict[str, float | int]:
    """Return how large an index is, and how far its lists are from exact ones, for the record."""
    return {
        "index_mib": round(listed.index_bytes / (1 << 20), 4),
        f"recall_of_exact_{listed.depth}": round(float(listed.shares.mean()), 6),
        "differing_items": listed.differing,
    }


def _check_kind(asked: Features, searched: Features, distance: str) -> None:
    """Refuse packed bits as numbers, and numbers as bits; both would rank, and mean nothing."""
    for side, features in (("queries", asked), ("gallery", searched)):
        packed = features.values.dtype == np.uint8
        if packed != distances.get(distance).packed:
            holds = "packed bits; use hamming" if packed else "numbers; hamming compares packed bits"
            raise InputError(f"{distance} distance: the {side} are {holds}.")


def _predictions(asked: Features, searched: Features) -> tuple[np.ndarray, np.ndarray]:
    """Return the classes that the network's classifier gives queries and gallery; the first of equal logits."""
    for side, features in (("queries", asked), ("gallery", searched)):
        if features.logits is None:
            raise InputError(f"rerank: the features of the {side} carry no logits; a classifier is needed.")
    if asked.logit_classes != searched.logit_classes:
        raise InputError("rerank: queries and gallery were classified by different classifiers.")
    return asked.logits.argmax(axis=1), searched.logits.argmax(axis=1)


def _joint_labels(asked: Features, searched: Features) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return labels of queries and gallery as positions in one list of classes."""
    classes = list(dict.fromkeys([*asked.classes, *searched.classes]))
    position = {name: index for index, name in enumerate(classes)}
    own = np.array([position[name] for name in asked.classes], dtype=np.int64)
    other = np.array([position[name] for name in searched.classes], dtype=np.int64)
    return own[asked.labels], other[searched.labels], classes


def _objects(asked: Features, searched: Features, retrieval: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the objects that queries and gallery show, as numbers; equal ones are the same object."""
    for side, features in (("queries", asked), ("gallery", searched)):
        if features.instances is None:
            raise InputError(
                f"{retrieval}: relevant: instance: the {side} do not say which object they show; give their dataset an "
                "`instance` pattern, or search for classes."
            )
    known = {name: number for number, name in enumerate(dict.fromkeys([*asked.instances, *searched.instances]))}
    return tuple(np.array([known[name] for name in side.instances], np.int64) for side in (asked, searched))


def _why_no_object(asked: Features, searched: Features) -> str:
    shown = [_few(side.instances, what="items") for side in (asked, searched)]
    return (
        f"none of the {len(asked)} queries shows an object of the gallery; queries show {shown[0]}, the gallery "
        f"{shown[1]}."
    )


def _why_none(asked: Features, searched: Features, leave_one_out: bool) -> str:
    """Return why no query has a relevant item."""
    none = f"none of the {len(asked)} queries has a relevant item in the gallery"
    if leave_one_out:
        return (
            f"{none}: each class has one item, and a query leaves itself out; expected two items of a class at least."
        )
    sides = [_few([side.classes[i] for i in np.unique(side.labels)]) for side in (asked, searched)]
    return f"{none}; queries are of {sides[0]}, the gallery of {sides[1]}."


def _few(names: list[str], most: int = 5, what: str = "classes") -> str:
    return ", ".join(names[:most]) + (f", … ({len(names)} {what})" if len(names) > most else "")


def _sentence(found: Ranking) -> str:
    means = np.nanmean(found.values, axis=0)
    shown = [f"{name} {mean:.4f}" for name, mean in zip(found.metrics, means, strict=True) if "recall@" not in name]
    each = 1000 * _seconds_searching(found) / max(1, len(found.values))
    return f"{len(found.values)} queries, {each:.3f} ms each: {', '.join(shown[:6])}"
