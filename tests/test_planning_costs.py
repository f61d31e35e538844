"""What is planned where a retrieval asks what searching costs."""

from types import SimpleNamespace

import pytest
from trazo.config import ConfigError, Settings, Study
from trazo.families import expanded
from trazo.plan import Plan

STAGE = {"name": "train", "data": "toys/train", "epochs": 1, "optimizer": {"adam": {"lr": 0.1}}}
RETRIEVAL = {
    "name": "r",
    "models": ["net", "cbs"],
    "queries": "toys/test",
    "gallery": "toys/train",
    "folds": 3,
    "distances": ["euclidean", "cosine"],
    "reducers": ["none", {"pca": {"size": [4, 2]}}, {"pq": {"size": 2}}],
    "cost": True,
}


def planned(**changes):
    study = {
        "title": "T",
        "datasets": {"toys": {"split": {"train": 9, "test": 4}, "categories": ["cat", "duck"]}},
        "models": {
            "net": {"architecture": "resnet18", "feature": "pool", "stages": [STAGE]},
            "cbs": {"architecture": "resnet18", "head": {"cbs": {"bits": [128, 64]}}, "stages": [STAGE]},
        },
        "retrievals": [{**RETRIEVAL, **changes}, {**RETRIEVAL, "name": "other", "cost": False}],
    }
    study = Study.model_validate(expanded(study))
    return Plan("s", "s", study, study, Settings(), {})


def wildcards(origin, batch):
    return SimpleNamespace(origin=origin, retrieval="r", batch=batch)


def test_every_batch_of_a_model_and_every_learned_code_is_costed_once():
    of = {"net": "net/seed0/train/epoch1", "cbs": "cbs-{}/seed0/train/epoch1"}
    folders = [f"{of['net']}/r/{batch}" for batch in ("none", "pca+size", "pq-size2")]
    folders += [f"{of['cbs'].format(bits)}/r/none" for bits in (128, 64)]
    assert planned().costs("sizes") == [f"results/s/costs/{folder}/sizes.csv" for folder in folders]
    # What was not asked for is not measured.
    without = planned(reducers=[{"pca": {"size": 4}}]).costs("times")
    assert [path for path in without if path.startswith("results/s/costs/net")] == [
        f"results/s/costs/{of['net']}/r/pca-size4/times.csv"
    ]
    assert planned(cost=False).costs("sizes") == []


def test_a_cost_is_measured_of_what_was_fitted_on_the_whole_gallery():
    plan, origin = planned(), "net/seed0/train/epoch1"
    found = plan.costed_inputs(wildcards(origin, "pca+size"))
    folder = f"results/s/codes/{origin}/r/pca+size"
    assert found == {
        "queries": f"results/s/features/{origin}/toys/test.h5",
        "gallery": f"results/s/features/{origin}/toys/train.h5",
        "codes": f"{folder}/whole.h5",
        "fitted": f"{folder}/whole",
    }
    assert set(plan.costed_inputs(wildcards(origin, "none"))) == {"queries", "gallery"}
    assert plan.costed_reducers(wildcards(origin, "pca+size")) == ["pca-size4", "pca-size2"]
    assert plan.costed_reducers(wildcards(origin, "none")) == []
    assert plan.costed_modules(wildcards(origin, "pq-size2")) == ["trazo.reducers.pq"]
    assert plan.costed_distances(wildcards(origin, "none")) == ["euclidean", "cosine"]
    assert plan.costed_distances(wildcards("cbs-64/seed0/train/epoch1", "none")) == ["hamming"]
    assert planned(folds=0).costed_inputs(wildcards(origin, "pca+size")) == found
    assert plan.fold("whole") == 0


def test_asking_for_costs_leaves_rankings_as_they_are():
    assert planned().retrieval("r") == planned(cost=False).retrieval("r")


def test_a_cost_is_that_of_the_exact_ranker():
    with pytest.raises((ConfigError, ValueError), match="add it to `rankers`"):
        planned(rankers=["faiss_flat"], metrics=["p@1"])
