"""The ranking step: from features on disk to `ranking.h5`, and its metrics as tidy rows with intervals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trazo.device import Stopwatch, choose_device
from trazo.errors import InputError
from trazo.folds import searched_rows
from trazo.progress import bar, log
from trazo.provenance import describe
from trazo.retrieval.distances import distances
from trazo.retrieval.labels import label_rows
from trazo.retrieval.lists import Searched, cutoffs, search, vote
from trazo.retrieval.metrics import expand_metrics, validate_metric
from trazo.retrieval.rankers import EXACT, ranker_choice
from trazo.retrieval.ranking import Ranking, rank
from trazo.retrieval.statistics import metric_rows
from trazo.sizes import FLOAT_BITS, equal_floats
from trazo.store import Features, RankingArtifact, read_codes, read_features, write_metrics, write_ranking


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
    codes: Sequence[Path | str] = (),
    reducer: str = "none",
    ranker: str | dict[str, Any] = EXACT,
    device: str = "auto",
    memory_mib: int = 512,
    threads: int = 1,
) -> None:
    """Search the gallery for all queries; write the ranking and the metrics.

    With folds each part of the gallery is searched by itself, by all queries; in leave-one-out by the queries that it
    holds, which no reducer of this fold was fitted on. What counts of a query is the mean over the folds in which
    something is relevant to it; the rows that name a fold have this one's means, over all classes. The list kept of a
    query is that of the first fold that it searches.

    Parameters
    ----------
    queries, gallery
        `features.h5` of both sides; the same file for leave-one-out.
    ranking, metrics
        `ranking.h5` and the tidy CSV to write.
    study, retrieval
        Names that the rows carry.
    distance
        Name of the distance.
    settings
        queries and gallery (as `<dataset>/<split>`), leave_one_out, metrics, top, rerank, votes, relevant, folds.
    code
        Fingerprint of the code, for the record.
    codes, reducer
        Codes to search instead of the features, a file for each fold in their order, and the reducer that made them,
        as paths call it; none: the features as they are.
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
    parts = _parts(asked, searched, codes, reducer, settings.get("folds", 0), own=settings["leave_one_out"])
    for part in parts:
        _check_kind(part.queries, part.gallery, distance)
    choice = ranker_choice(ranker)
    if choice.kind.whole:
        _warm_up(parts[0].gallery, settings, distance, str(chosen))
    watch = Stopwatch(chosen)
    label = choice.label + (f"+{settings['rerank']}" if settings["rerank"] != "none" else "")
    groups = _predictions(asked, searched) if settings["rerank"] != "none" and choice.kind.whole else None
    ties = tie_order(searched.ids) if choice.kind.whole else None
    top = _list_length(settings, min(len(part.rows) for part in parts))
    several: list[Ranking] = []
    listed: list[Searched] = []
    searches = sum(len(part.asked) for part in parts)
    with bar(searches, f"rank by {distance}", "query") as progress:
        for part in parts:
            task = {
                "query_labels": sought[0][part.asked],
                "gallery_labels": sought[1][part.rows],
                "distance": distance,
                "leave_one_out": np.arange(len(part.rows)) if settings["leave_one_out"] else None,
                "top": top,
                "device": str(chosen),
                "memory_mib": memory_mib,
                "progress": progress.update,
            }
            if choice.kind.whole:
                first = None if groups is None else (groups[0][part.asked], groups[1][part.rows])
                several.append(
                    rank(part.queries, part.gallery, metrics=settings["metrics"], groups_first=first,
                         tie_order=ties[part.rows], **task)
                )  # fmt: skip
            else:
                one = choice.kind(choice.options, threads=threads)
                kept = list(cutoffs(settings["metrics"]))
                listed.append(search(one, part.queries, part.gallery, metrics=kept, **task))
                several.append(listed[-1].ranking)
    found = _joined(several, parts, len(asked))
    if not found.evaluated.any():
        why = _why_no_object(asked, searched) if by_object else _why_none(asked, searched, settings["leave_one_out"])
        raise InputError(f"{retrieval}: {why}")
    if found.excluded:
        log.info("%d of %d queries have no relevant item and are left out", found.excluded, len(asked))
    milliseconds = 1000 * _seconds_searching(found) / searches
    record = describe(
        "rank",
        settings={
            "key": {
                **_origin(asked),
                "retrieval": retrieval,
                "reducer": reducer,
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
        milliseconds_per_query=round(milliseconds, 4),
        excluded_queries=found.excluded,
        **(_costs(listed) if listed else {}),
    )
    counts = settings["votes"]
    votes = [
        np.column_stack([vote(one.top_indices, gallery_labels[part.rows], count) for count in counts])
        for one, part in zip(several, parts, strict=True)
        if counts
    ]
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
            votes=_first_of(votes, parts, len(asked)) if counts else None,
            vote_counts=counts,
            query_objects=sought[0] if by_object else None,
            gallery_objects=sought[1] if by_object else None,
        ),
    )
    constant = {
        "study": study,
        "dataset": retrieval,
        **_origin(asked),
        "reducer": parts[0].method or _made_by(asked).get("method", "none"),
        "size": equal_floats(parts[0].bits),
        "bits": parts[0].bits,
        "ranker": label,
        "distance": distance,
    }
    rows = _all_rows(found, several, parts, listed, votes, query_labels, gallery_labels, classes, counts)
    write_metrics(metrics, (constant | row for row in rows))
    log.info("%s%s", f"{len(parts)} folds, " * (len(parts) > 1), _sentence(found, milliseconds))


def _made_by(features: Features) -> dict[str, Any]:
    """Return what the record of features names them by."""
    return features.record.get("settings", {}).get("key", {})


def _origin(features: Features) -> dict[str, Any]:
    """Return the columns that say what made features."""
    return {name: _made_by(features).get(name) for name in ("model", "stage", "epoch", "seed")}


def _all_rows(
    found: Ranking,
    several: list[Ranking],
    parts: list[_Part],
    listed: list[Searched],
    votes: list[np.ndarray],
    *of: Any,
) -> Iterator[dict[str, Any]]:
    """Yield tidy rows of all parts joined, and then of each by itself; `of`: labels, classes and counts of `_rows`."""
    # The rows that count come first: they name what all rows are of.
    yield from _rows(found, several, parts, listed, votes, *of)
    for number, part in enumerate(parts if len(parts) > 1 else [], start=1):
        if several[number - 1].evaluated.any():
            mine = (each[number - 1 : number] for each in (several, parts, listed, votes))
            one = _joined(several[number - 1 : number], [part], len(of[0]))
            yield from ({**row, "fold": number} for row in _rows(one, *mine, *of, by_class=False))


def _rows(
    found: Ranking,
    several: list[Ranking],
    parts: list[_Part],
    listed: list[Searched],
    votes: list[np.ndarray],
    query_labels: np.ndarray,
    gallery_labels: np.ndarray,
    classes: list[str],
    counts: list[int],
    *,
    by_class: bool = True,
) -> Iterator[dict[str, Any]]:
    """Yield tidy rows of what was found in some parts of a gallery, `found` joining them; with or without classes."""
    measured = [(found.metrics, found.values)]
    if counts:
        # Every query is classified, one without a relevant item wrongly.
        right = [each == query_labels[part.asked, None] for each, part in zip(votes, parts, strict=True)]
        measured.append(([f"knn_accuracy@{count}" for count in counts], _mean_of(right, parts, len(query_labels))))
    if listed:
        shares = _mean_of([each.shares[:, None] for each in listed], parts, len(query_labels))
        measured.append(([f"recall_of_exact@{listed[0].depth}"], shares))
    # Those that search no part of these are no part of what was measured.
    who = np.unique(np.concatenate([part.asked for part in parts]))
    for names, values in measured:
        yield from metric_rows(names, values[who], query_labels[who], classes, by_class=by_class)
    if counts:
        searched = [_in_gallery(one.top_indices, part.rows) for one, part in zip(several, parts, strict=True)]
        if all(len(part.asked) == len(query_labels) for part in parts):
            labelled = label_rows(np.stack(searched), query_labels, gallery_labels, classes, counts)
        else:
            # Each query searched one fold.
            labels = np.concatenate([query_labels[part.asked] for part in parts])
            labelled = label_rows(np.concatenate(searched), labels, gallery_labels, classes, counts)
        yield from (row for row in labelled if by_class or not row["class"])


@dataclass(frozen=True)
class _Part:
    """What of a gallery is searched by itself: a fold, or all of it.

    Attributes
    ----------
    rows
        (n,) int64 positions in the gallery, ascending.
    asked
        (q,) int64 positions of the queries that search it, ascending.
    queries, gallery
        (q, D) and (n, D) features or codes.
    bits
        What a searcher holds of an item.
    method
        What metrics call the reducer that made the codes; empty for features.
    """

    rows: np.ndarray
    asked: np.ndarray
    queries: np.ndarray
    gallery: np.ndarray
    bits: int
    method: str = ""


def _parts(
    asked: Features, searched: Features, codes: Sequence[Path | str], reducer: str, folds: int, *, own: bool
) -> list[_Part]:
    """Return what is searched by itself: the folds, or the whole gallery, as features or as codes.

    `own`: the queries are the gallery, and each searches the part that it is in.
    """
    every = np.arange(len(asked))
    several = searched_rows(searched.labels, searched.ids, folds, classes=searched.classes)
    if not codes:
        packed = searched.values.dtype == np.uint8
        bits = searched.values.shape[1] * (8 if packed else FLOAT_BITS)
        if not folds:
            return [_Part(several[0], every, asked.values, searched.values, bits)]
        who = [rows if own else every for rows in several]
        return [
            _Part(rows, w, asked.values[w], searched.values[rows], bits) for rows, w in zip(several, who, strict=True)
        ]
    if len(codes) != len(several):
        raise InputError(f"got codes of {len(codes)} parts of the gallery, expected {len(several)}; delete them.")
    found = []
    for path, rows in zip(codes, several, strict=True):
        who = rows if own else every
        ids = [asked.ids[query] for query in who]
        artifact = read_codes(path, [reducer], query_ids=ids, gallery_ids=searched.ids)
        if not np.array_equal(artifact.rows, rows):
            raise InputError(f"{path} is of another part of the gallery than expected; delete it and run again.")
        made = artifact.codes[reducer]
        values = asked.values[who] if made.queries is None else made.queries
        found.append(_Part(rows, who, values, made.gallery, int(made.record["bits"]), made.record["method"]))
    return found


def _joined(several: list[Ranking], parts: list[_Part], queries: int) -> Ranking:
    """Return one ranking of all parts of a gallery: per query the mean over those where something is relevant to it."""
    counted, relevant = np.zeros(queries, np.int64), np.zeros(queries, np.int64)
    sums = np.zeros((queries, len(several[0].metrics)))
    for one, part in zip(several, parts, strict=True):
        counted[part.asked] += one.evaluated
        relevant[part.asked] += one.relevant
        sums[part.asked] += np.where(one.evaluated[:, None], one.values, 0.0)
    values = np.full_like(sums, np.nan)
    np.divide(sums, counted[:, None], out=values, where=counted[:, None] > 0)
    lists = [_in_gallery(one.top_indices, part.rows) for one, part in zip(several, parts, strict=True)]
    return Ranking(
        metrics=several[0].metrics,
        values=values,
        evaluated=counted > 0,
        relevant=relevant,
        top_indices=_first_of(lists, parts, queries, none=-1),
        top_distances=_first_of([one.top_distances for one in several], parts, queries, none=np.nan),
        seconds={step: sum(one.seconds[step] for one in several) for step in several[0].seconds},
        excluded=int((counted == 0).sum()),
    )


def _first_of(several: Sequence[np.ndarray], parts: list[_Part], queries: int, none: float = -1) -> np.ndarray:
    """Return what each query found in the first part that it searched, (queries, K); `none` where it searched none."""
    found = np.full((queries, several[0].shape[1]), none, several[0].dtype)
    for one, part in zip(reversed(several), reversed(parts), strict=True):
        found[part.asked] = one
    return found


def _mean_of(several: Sequence[np.ndarray], parts: list[_Part], queries: int) -> np.ndarray:
    """Return the mean over the parts that each query searched, (queries, M); NaN where it searched none."""
    sums, counted = np.zeros((queries, several[0].shape[1])), np.zeros((queries, 1))
    for one, part in zip(several, parts, strict=True):
        sums[part.asked] += one
        counted[part.asked] += 1
    return np.divide(sums, counted, out=np.full_like(sums, np.nan), where=counted > 0)


def _in_gallery(where: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return positions in a part of the gallery as positions in all of it; −1 stays where nothing was found."""
    return np.where(where >= 0, rows[np.maximum(where, 0)], -1)


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


def _costs(listed: list[Searched]) -> dict[str, float | int]:
    """Return how large an index is (of folds, the largest), and how far lists are from exact ones, for the record."""
    return {
        "index_mib": round(max(each.index_bytes for each in listed) / (1 << 20), 4),
        f"recall_of_exact_{listed[0].depth}": round(float(np.mean([each.shares.mean() for each in listed])), 6),
        "differing_items": sum(each.differing for each in listed),
    }


def _check_kind(asked: np.ndarray, searched: np.ndarray, distance: str) -> None:
    """Refuse packed bits as numbers, and numbers as bits; both would rank, and mean nothing."""
    for side, values in (("queries", asked), ("gallery", searched)):
        packed = values.dtype == np.uint8
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


def _sentence(found: Ranking, milliseconds: float) -> str:
    means = np.nanmean(found.values, axis=0)
    shown = [f"{name} {mean:.4f}" for name, mean in zip(found.metrics, means, strict=True) if "recall@" not in name]
    return f"{len(found.values)} queries, {milliseconds:.3f} ms each: {', '.join(shown[:6])}"
