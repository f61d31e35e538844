"""A study of codes as `sbir` is one: fitted and learned reducers of many sizes, what they find and what they cost."""

from __future__ import annotations

import math
from pathlib import Path

from trazo import store
from trazo.config import Study
from trazo.families import expanded
from trazo.report.drawing import Material

PUBLISHED = Path(__file__).parents[2] / "workflow" / "published" / "published.csv"
CLASSES = ["bear", "bee", "camel", "cat", "cow", "crab"]
FLOATS, BITS = [512, 128, 64, 32, 16, 8, 4], [2048, 1024, 512, 256, 128]
SHARES = [0.1, 0.4, 0.7]
NEIGHBOURS, DISTANCES = [5, 15, 30, 50], [0.0, 0.1, 0.3, 0.5]
WIDTH = 2048


def _model(**settings: object) -> dict[str, object]:
    stage = {"name": "instances", "data": "toys/train", "epochs": 2, "optimizer": {"sgd": {"lr": 0.1}}}
    return {"architecture": "resnet18", "stages": [stage], **settings}


def coded_study(**sections: object) -> Study:
    """Return the study; sections replace its own, as in a file."""
    retrieval = {
        "name": "toys-reduced",
        "models": ["net", "crs", "cbs", "dtsh"],
        "queries": "toys/queries",
        "gallery": "toys/gallery",
        "folds": 3,
        "metrics": ["map", "mrr", "recall_precision_interpolated"],
        "cost": True,
        "reducers": [
            "none",
            {"pca": {"size": FLOATS}},
            {"umap": {"size": FLOATS}},
            {"umap": {"size": 16, "share": SHARES}},
            # 15 and 0.1 are what the reducer does if not told otherwise.
            {"umap": {"size": 8, "n_neighbors": [5, 30, 50], "min_dist": DISTANCES}},
            {"umap": {"size": 8, "n_neighbors": 15, "min_dist": [0.0, 0.3, 0.5]}},
        ],
    }
    whole = {**retrieval, "name": "toys-whole", "models": ["net"], "folds": 0, "reducers": ["none"], "cost": False}
    reducers = [{"match": {"table": "table 4.9", "note": f"fitted on {round(100 * share)} %"}, "model": "net",
                 "reducer": f"umap-size16-share{share}"} for share in SHARES]  # fmt: skip
    reducers.append({"match": {"table": "table 4.9", "note": "fitted on 100 %"}, "model": "net",
                     "reducer": "umap-size16"})  # fmt: skip
    heads = [{"match": {"reducer": name}, "model": name} for name in ("crs", "cbs", "dtsh")]
    study = {
        "title": "Codes",
        "datasets": {
            "toys": {"source": "doodles", "categories": CLASSES, "split": {"train": 8, "queries": 4, "gallery": 2000}}
        },
        "models": {
            "net": _model(feature="pool"),
            "crs": _model(head={"crs": {"size": FLOATS}}),
            "cbs": _model(head={"cbs": {"bits": BITS}}),
            "dtsh": _model(head={"dtsh": {"bits": BITS}}),
        },
        "retrievals": [whole, retrieval],
        "published": {
            "study": "sbir",
            "datasets": {"Flickr15K": ["toys-whole", "toys-reduced"]},
            "models": [*reducers, *heads, {"match": {"model": "seresnet50"}, "model": "net"}],
        },
        **sections,
    }
    return Study.model_validate(expanded(study))


def found_map(reducer: str, size: float) -> float:
    """A made-up mAP of a method at a size, as the study has them: UMAP flat, PCA and CRS falling, bits between."""
    name, log = reducer.partition("-")[0], math.log2(size)
    if name == "umap":
        return 0.55 - 0.004 * abs(log - 5)
    if name in ("pca", "crs"):
        return {"pca": 0.41, "crs": 0.39}[name] - 0.24 * math.exp(-(log - 2) / 1.7)
    return {"cbs": 0.39 - 0.012 * (6 - log), "dtsh": 0.17 + 0.04 * (6 - log), "none": 0.42}[name]


def _costs(reducer: str, size: float, packed: bool) -> dict[str, float]:
    name = reducer.partition("-")[0]
    transform = {"umap": 18 + 0.5 * size, "pca": 0.05 + 0.0005 * size}.get(name, 0.0)
    distances = 0.02 + (0.0015 if packed else 0.004) * size
    memory = 14500 * 4 * size / 1e6 + {"umap": 450.0, "pca": 4 * WIDTH * size / 1e6}.get(name, 0.0)
    times = {"query_time_transform": transform, "query_time_distances": distances, "query_time_ranking": 0.6}
    return {"query_time": sum(times.values()), **times, "memory": memory, "saved_size": 1.1 * memory}


def write_coded(folder: Path) -> Material:
    """Write metrics.csv and timings.csv of the study; return them with the published values."""
    sizes, times = [], []
    for model, reducer, size, packed in _codes():
        identity = {
            "study": "codes", "dataset": "toys-reduced", "model": model, "stage": "instances", "epoch": 2, "seed": 0,
            "reducer": reducer, "size": f"{size:g}", "bits": round(32 * size), "ranker": "exact",
            "distance": "hamming" if packed else "euclidean",
        }  # fmt: skip
        value = _value(reducer, size)
        found = {"map": value, "mrr": min(value + 0.15, 0.66), **_curve(value)}
        for metric, height in found.items():
            for average in ("queries", "classes"):
                row = {"metric": metric, "average": average, "value": height, "queries": 330}
                sizes.append(identity | row | {"ci_low": height - 0.02, "ci_high": height + 0.025})
        for place, name in enumerate(CLASSES):
            height = min(value * (0.6 + 0.15 * place), 1.0)
            row = {"metric": "map", "class": name, "value": height, "queries": 4}
            sizes.append(identity | row | {"ci_low": height - 0.05, "ci_high": height + 0.04})
        for metric, cost in _costs(reducer, size, packed).items():
            row = identity | {"metric": metric, "value": cost}
            if metric in ("memory", "saved_size"):
                sizes.append(row)
            else:
                times.append(row | {"ci_low": 0.95 * cost, "ci_high": 1.1 * cost, "queries": 60})
    whole = {"study": "codes", "dataset": "toys-whole", "model": "net", "stage": "instances", "epoch": 2, "seed": 0}
    whole |= {"reducer": "none", "size": WIDTH, "bits": 32 * WIDTH, "ranker": "exact", "distance": "euclidean"}
    sizes += [whole | {"metric": "map", "average": average, "value": 0.43} for average in ("queries", "classes")]
    store.write_metrics(folder / "metrics.csv", sizes)
    store.write_metrics(folder / "timings.csv", times)
    return Material(metrics=folder / "metrics.csv", timings=folder / "timings.csv", published=PUBLISHED)


def _codes() -> list[tuple[str, str, float, bool]]:
    """Return (model, reducer, size, packed) of all codes."""
    fitted = [("net", name, size, False) for name in ("pca", "umap") for size in FLOATS]
    fitted += [("net", f"umap-share{share}", 16, False) for share in SHARES]
    pairs = [(k, d) for k in NEIGHBOURS for d in DISTANCES if (k, d) != (15, 0.1)]
    fitted += [("net", f"umap-n_neighbors{k}-min_dist{d}", 8, False) for k, d in pairs]
    learned = [(f"crs-{size}", "crs", size, False) for size in FLOATS]
    learned += [(f"{name}-{bits}", name, bits / 32, True) for name in ("cbs", "dtsh") for bits in BITS]
    return [("net", "none", WIDTH, False), *fitted, *learned]


def _value(reducer: str, size: float) -> float:
    value = found_map(reducer, size)
    if "share" in reducer:
        value -= 0.09 * (1 - float(reducer.partition("share")[2])) ** 2
    if "n_neighbors" in reducer:
        neighbours, distance = reducer.partition("-n_neighbors")[2].split("-min_dist")
        value -= 0.02 * abs(math.log2(int(neighbours) / 22)) + 0.03 * float(distance)
    return value


def _curve(value: float) -> dict[str, float]:
    recalls = [tenth / 10 for tenth in range(11)]
    return {f"interpolated_precision@{r:.1f}": min(1.0, 2 * value * (1 - r) ** 0.8 + 0.02) for r in recalls}
