"""Codes that networks learn, through the workflow: from weights without a head to rows of the size of equal bytes."""

import copy
import csv

import numpy as np
import pytest
from trazo.models.checkpoint import load_checkpoint
from trazo.store import read_features, read_history

from tests.test_planning_branches import STUDY, write_pairs

pytestmark = pytest.mark.workflow

STAGE = STUDY["models"]["both"]["stages"][1]


def coded(head, objective):
    model = {key: value for key, value in STUDY["models"]["both"].items() if key != "feature"}
    stage = {**STAGE, "objective": {**objective, "cross_entropy": {"weight": 0.6}}}
    return {**model, "weights": {"model": "both"}, "head": head, "stages": [stage]}


def test_codes_from_images_to_metrics(empty, monkeypatch):
    monkeypatch.chdir(empty.folder)
    write_pairs(empty.folder / "pairs")
    (empty.folder / "config.yaml").write_text(
        "{studies: [heads.yaml], sources: {pairs: pairs}, device: cpu, threads: 1}\n"
    )
    study = copy.deepcopy(STUDY)
    drawn = {"draw": "instances"}
    both = {key: value for key, value in study["models"]["both"].items() if key != "weights"}
    study["models"] = {
        "both": {**both, "stages": [STAGE]},
        "crs": coded({"crs": {"size": 3}}, {"triplet": drawn}),
        "dtsh": coded({"dtsh": {"bits": [64, 16]}}, {"dtsh": {**drawn, "per_bit": True}}),
    }
    study["retrievals"] = [
        {**study["retrievals"][1], "name": "floats", "models": ["both", "crs"], "metrics": ["mrr"]},
        {**study["retrievals"][1], "name": "bits", "models": ["dtsh"], "metrics": ["mrr"], "distances": ["hamming"]},
    ]
    study["tables"] = {"all": {"title": "All", "metrics": ["mrr"], "rows": ["model", "size"], "columns": ["reducer"]}}
    study["figures"] = {}
    empty.write_study(study, "heads")
    empty.snakemake()
    results = empty.folder / "results" / "heads"

    start, _ = read_history(results / "models" / "dtsh-16" / "seed0" / "instances" / "history.json")
    words = "stage instances of both at epoch 1; code and fc drawn from seed 0"
    assert start["figures"]["starting_weights"] == words
    trained = load_checkpoint(results / "models" / "dtsh-16" / "seed0" / "instances" / "checkpoint.pt")
    assert trained.head == {"dtsh": {"bits": 16}}
    assert trained.weights[1]["stages.code.linear.weight"].shape == (16, 256)

    def features(model):
        folder = results / "features" / model / "seed0" / "instances" / "epoch1"
        return [read_features(folder / f"{side}.h5") for side in ("sketches/test", "photos/all")]

    sketches, photos = features("dtsh-64")
    assert (sketches.values.dtype, sketches.values.shape[1]) == (np.uint8, 8)
    assert features("crs")[0].values.shape[1] == 3

    with (results / "metrics.csv").open(newline="") as file:
        rows = [r for r in csv.DictReader(file) if r["metric"] == "mrr" and not r["class"]]
    found = {(r["model"], r["reducer"], r["size"], r["bits"], r["distance"]) for r in rows}
    assert found == {
        ("both", "none", "256", "8192", "euclidean"),
        ("crs", "crs", "3", "96", "euclidean"),
        ("dtsh-64", "dtsh", "2", "64", "hamming"),
        ("dtsh-16", "dtsh", "0.5", "16", "hamming"),
    }
    # Bits that differ, by hand; of the one photo that a sketch shows, the mean of 1/rank over the places of its ties.
    apart = np.unpackbits(sketches.values[:, None] ^ photos.values[None], axis=2).sum(axis=2)
    names = [name.rpartition(".")[0].split("/")[-2:] for name in photos.ids]
    expected = []
    for row, name in zip(apart, sketches.ids):
        kind, drawn = name.rpartition(".")[0].split("/")[-2:]
        own = row[names.index([kind, drawn.rpartition("-")[0]])]
        places = range((row < own).sum() + 1, (row <= own).sum() + 1)
        expected.append(np.mean([1 / place for place in places]))
    (measured,) = (r for r in rows if r["model"] == "dtsh-64" and r["average"] in ("", "queries"))
    assert float(measured["value"]) == pytest.approx(np.mean(expected))
    table = (results / "tables" / "all.md").read_text()
    assert "dtsh-16" in table
    assert "code and classifier drawn at random" in table
