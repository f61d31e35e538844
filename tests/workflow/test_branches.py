"""Sketches and photos through the workflow: a network with two branches, searched by class and by object."""

import csv

import h5py
import numpy as np
import pytest
from trazo.models.checkpoint import load_checkpoint
from trazo.store import read_features, read_images, read_ranking

from tests.test_planning_branches import CLASSES, OBJECTS, STUDY, changed, write_pairs

pytestmark = pytest.mark.workflow


def test_a_network_of_two_branches_from_images_to_report(empty, monkeypatch):
    # Streamed photos are where the run found them.
    monkeypatch.chdir(empty.folder)
    write_pairs(empty.folder / "pairs")
    (empty.folder / "config.yaml").write_text(
        "{studies: [branched.yaml], sources: {pairs: pairs}, device: cpu, threads: 1}\n"
    )
    empty.write_study(STUDY, "branched")
    empty.snakemake()
    results = empty.folder / "results" / "branched"
    models = results / "models"

    # Streamed photos hold no pixels, and are the photos.
    with h5py.File(results / "images" / "photos" / "all.h5") as file:
        assert "pixels" not in file
    images = read_images(results / "images" / "photos" / "all.h5")
    assert images.pixels[:].shape == (len(CLASSES) * OBJECTS, 32, 32, 3)

    # Stage 1's weights are where the branched network starts, part by part.
    start = load_checkpoint(models / "both" / "seed0" / "classes" / "checkpoint.pt").weights[0]
    of_sketches = load_checkpoint(models / "sketches" / "seed0" / "s" / "checkpoint.pt").weights[1]
    of_photos = load_checkpoint(models / "photos" / "seed0" / "p" / "checkpoint.pt").weights[1]
    of_base = load_checkpoint(models / "base" / "seed0" / "b" / "checkpoint.pt").weights[1]
    np.testing.assert_array_equal(start["branches.sketch.stem.conv1.weight"], of_sketches["stages.stem.conv1.weight"])
    np.testing.assert_array_equal(start["branches.photo.stem.conv1.weight"], of_photos["stages.stem.conv1.weight"])
    shared = next(key for key in start if key.startswith("stages.layer3.") and key.endswith("conv1.weight"))
    np.testing.assert_array_equal(start[shared], of_base[shared])
    assert not np.array_equal(of_base[shared], of_photos[shared])

    # Queries went through one branch, the gallery through the other.
    features = results / "features" / "both" / "seed0" / "instances" / "epoch1"
    sketches, photos = read_features(features / "sketches" / "test.h5"), read_features(features / "photos" / "all.h5")
    assert sketches.record["settings"]["domain"] == "sketch"
    assert photos.record["settings"]["domain"] == "photo"

    # The object searched for: recall@1 by hand from distances and file names.
    apart = ((sketches.values[:, None].astype(float) - photos.values[None]) ** 2).sum(axis=2)
    objects = [name.split("/")[-2] + "/" + name.split("/")[-1].split("-")[0] for name in sketches.ids]
    found = [photos.ids[i].split("/")[-2] + "/" + photos.ids[i].split("/")[-1].split(".")[0] for i in apart.argmin(1)]
    with (results / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    measured = [
        float(r["value"])
        for r in rows
        if r["dataset"] == "objects" and r["metric"] == "recall@1" and not r["class"] and r["average"] == "queries"
    ]
    assert measured == [pytest.approx(np.mean([a == b for a, b in zip(objects, found)]))]
    ranking = read_ranking(
        results / "rankings" / "both" / "seed0" / "instances" / "epoch1" / "objects" / "none" / "euclidean" / "exact.h5"
    )
    assert (ranking.relevant == 1).all()
    assert ranking.right(0, np.arange(len(photos.ids))).sum() == 1

    points = {(r["stage"], r["epoch"]) for r in rows if r["dataset"] == "kinds"}
    assert points == {("classes", "0"), ("classes", "1"), ("instances", "1")}
    assert (results / "figures" / "objects.png").exists()
    assert "By stage" in (results / "report.html").read_text()

    # What of it is made again, and only that. Of the branched model there are two stages, of each other model one.
    own = ("models", "both")
    stages = {
        "augmentation": [(*own, "stages", 0, "augment", {"flip": 0.5})],
        "of the last stage alone": [(*own, "stages", 1, "augment", {"flip": 0.5})],
        "sharing point": [(*own, "branches", {"shared_from": "layer2"})],
        "where the shared part starts from": [(*own, "weights", "shared", {"model": "photos"})],
        "objects": [("datasets", "sketches", "instance", r"(.+)-\d")],
        "whose branch": [("datasets", "sketches", "domain", "photo"), ("datasets", "photos", "domain", "sketch")],
    }
    found = {}
    for name, changes in stages.items():
        empty.write_study(changed(*changes), "branched")
        found[name] = empty.stale()
    trained = {name: stale.get("train_stage", 0) for name, stale in found.items()}
    assert trained == dict(zip(stages, (2, 1, 2, 2, 3, 2)))
    built = {name: stale.get("build_images", 0) for name, stale in found.items()}
    assert built == {**dict.fromkeys(stages, 0), "objects": 2}
    assert found["whose branch"]["extract_features"] == found["sharing point"]["extract_features"]
    empty.write_study(STUDY, "branched")
    assert empty.stale() == {}
