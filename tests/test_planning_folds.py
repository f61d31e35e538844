"""What planning knows of folded galleries of models, and of models whose features are codes already."""

from types import SimpleNamespace

import pytest
from trazo import planning
from trazo.config import ConfigError, Settings, Study
from trazo.plan import Learning, Plan

STAGE = {"name": "train", "data": "toys/train", "epochs": 1, "optimizer": {"adam": {"lr": 0.1}}}
PLAIN = {"architecture": "resnet18", "feature": "pool", "stages": [STAGE]}
MODELS = {
    "plain": PLAIN,
    "floats": {**PLAIN, "feature": "code", "head": {"crs": {"size": 8}}},
    "bits": {**PLAIN, "feature": "code", "head": {"cbs": {"bits": 64}}},
}
SEARCH = {"queries": "toys/test", "gallery": "toys/train", "metrics": ["map", "p@3"], "models": list(MODELS)}


def planned(**search):
    """Return a checked plan of a network, and of the same with two heads, that search 6 items of each of 2 classes."""
    study = Study.model_validate(
        {
            "title": "T",
            "datasets": {"toys": {"split": {"train": 6, "test": 4}, "categories": ["cat", "duck"]}},
            "models": MODELS,
            "retrievals": [{**SEARCH, **search}],
        }
    )
    learning = {
        (name, "train"): Learning([], [], uses_logits=True, uses_embeddings=False, smallest_batch=1) for name in MODELS
    }
    widths = {"plain": 512, "floats": 8, "bits": 8}
    found = Plan("s", "s", study, study, Settings(), {}, learning=learning, widths=widths)
    planning._check_sizes(found)
    planning._check_names(found)
    return found


def ways(plan, model):
    """Return reducer and distance of a model's rankings."""
    return [tuple(path.split("/")[-3:-1]) for path in plan.rankings() if f"/{model}/" in path]


def test_codes_that_a_network_made_are_not_reduced_and_bits_are_compared_as_bits():
    found = planned(reducers=["none", {"pca": {"size": [4, 2]}}], distances=["euclidean", "cosine"], folds=2)
    reducers = ("none", "pca-size4", "pca-size2")
    assert ways(found, "plain") == [(reducer, d) for reducer in reducers for d in ("euclidean", "cosine")]
    assert ways(found, "floats") == [("none", "euclidean"), ("none", "cosine")]
    assert ways(found, "bits") == [("none", "hamming")]
    folder = "results/s/codes/plain/seed0/train/epoch1/toys-test-in-toys-train/pca+size"
    assert found.codes() == [f"{folder}/{part}.h5" for part in ("fold1", "fold2")]
    # They run as they are even where no other model does.
    alone = planned(reducers={"pca": {"size": 4}})
    assert ways(alone, "bits") == [("none", "hamming")]
    assert ways(alone, "plain") == [("pca-size4", "euclidean")]
    ranking = SimpleNamespace(origin="bits/seed0/train/epoch1", retrieval="toys-test-in-toys-train", reducer="none")
    assert alone.searched_codes(ranking) == []
    assert alone.searched_features(ranking, "gallery") == ("results/s/features/bits/seed0/train/epoch1/toys/train.h5")


def test_a_reducer_as_wide_as_the_features_is_none_of_the_codes():
    # 12 of 512 values, fitted on 12 items; the codes have 8 values.
    assert len(planned(reducers={"pca": {"size": 12}}).rankings()) == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"folds": 7, "metrics": ["map"]}, r"folds: 7 folds need 7 items of every class.* cat \(6\), duck \(6\)"),
        ({"folds": 6}, r"metrics: p@3 looks at 3 items, and the gallery a fold of toys/train has 2"),
        ({"folds": 2, "reducers": {"pca": {"size": 7}}}, "reducers: model plain: pca: 7 components of 6 items; .*of"),
        ({"distances": ["hamming"]}, "distances: hamming compares packed bits, and the features of plain are numbers"),
        ({"distances": ["hamming"], "models": ["bits", "floats"]}, "distances: hamming .* the features of floats"),
        ({"rankers": ["exact", "faiss_flat"]}, "rankers: faiss_flat does not search by hamming, but by"),
        ({"models": ["plain"], "rankers": ["faiss_binary_flat"]}, "faiss_binary_flat does not search by euclidean"),
    ],
)
def test_what_cannot_be_searched_is_refused_before_the_run(changes, message):
    with pytest.raises(ConfigError, match=rf"study s: retrievals\[0\]\..*{message}"):
        planned(**changes)


def test_rankers_of_bits_search_models_of_bits():
    found = planned(models=["bits"], rankers=["exact", "faiss_binary_flat"])
    assert [path.split("/")[-2:] for path in found.rankings()] == [
        ["hamming", "exact.h5"],
        ["hamming", "faiss_binary_flat.h5"],
    ]
