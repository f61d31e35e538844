"""What planning knows of imported features before anything runs, and whose code a ranking's fingerprint is of."""

import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from trazo import plan
from trazo.config import ConfigError, Settings
from trazo.provenance import LIBRARY, code_fingerprint
from trazo.retrieval.distances import distances


@pytest.fixture
def planned(tmp_path, monkeypatch):
    """Return a function that plans a retrieval of 60 items of 12 values in 3 classes."""
    monkeypatch.chdir(tmp_path)
    answer = {"networks": [], "objectives": [], "distances": distances.names()}
    monkeypatch.setattr(plan, "ask_torch", lambda *_: answer)
    np.savez("mine.npz", features=np.random.default_rng(0).normal(size=(60, 12)), labels=np.arange(60) % 3)

    def make(**retrieval):
        retrieval = {"features": ["mine"], "metrics": ["map", "p@5"], **retrieval}
        study = {"title": "t", "features": {"mine": {"source": "mine.npz"}}, "retrievals": [retrieval]}
        (tmp_path / "s.yaml").write_text(yaml.safe_dump(study))
        return plan.make_plans(Settings(studies=["s.yaml"]), tmp_path / "cache")["s"]

    return make


@pytest.mark.parametrize(
    ("ranker", "message"),
    [
        ({"faiss_ivf": {"lists": 61, "probes": 1}}, "faiss_ivf: 1 probes of 61 lists; expected probes ≤ lists ≤ 60"),
        ("faiss_ivf", "faiss_ivf: 8 probes of 64 lists"),
        ({"faiss_pq": {"pieces": 5, "bits": 4}}, "faiss_pq: 5 pieces do not divide a feature of 12 values evenly"),
        ({"faiss_pq": {"pieces": 4}}, "faiss_pq: 8 bits ask for 256 centroids, and the gallery has 60 items"),
        ({"faiss_pq": {"pieces": 6, "bits": 2}}, "faiss_pq: pieces of 2 values need 3 bits or more, and have 2"),
    ],
)
def test_rankers_that_do_not_fit_imported_features_are_refused_before_the_run(planned, ranker, message):
    with pytest.raises(ConfigError, match=rf"study s: retrievals\[0\].rankers: features mine: {message}"):
        planned(rankers=["exact", ranker])


def test_rankers_that_fit_are_planned(planned):
    found = planned(rankers=["exact", {"faiss_ivf": {"lists": 60}}, {"faiss_pq": {"pieces": 4, "bits": 5}}])
    assert len(found.rankings()) == 3
    assert "recall_of_exact@5" in found.study.tables["retrieval"].metrics


@pytest.mark.parametrize(
    ("reducer", "message"),
    [
        ({"pca": {"size": 13}}, "features mine: pca: 13 components of features of 12 values"),
        ({"pac": {"size": 3}}, "unknown reducer 'pac'. Did you mean 'pca'"),
        ({"pca": {"siz": 3}}, "pca: unknown option 'siz'"),
        ("none", "none is listed twice"),
        ({"pca": {"whiten": False, "size": 4}}, "listed twice, the other time as pca-size4"),
    ],
)
def test_reducers_that_cannot_be_fitted_are_refused_before_the_run(planned, reducer, message):
    with pytest.raises(ConfigError, match=rf"study s: retrievals\[0\].reducers: .*{message}"):
        planned(reducers=["none", {"pca": {"size": 4}}, reducer])


def test_more_components_than_items_are_refused_before_the_run(planned):
    np.savez("mine.npz", features=np.random.default_rng(0).normal(size=(9, 12)), labels=np.arange(9) % 3)
    with pytest.raises(ConfigError, match=r"reducers: features mine: pca: 10 components of 9 items"):
        planned(reducers={"pca": {"size": 10}})


def test_packed_bits_are_not_reduced(planned):
    np.savez("mine.npz", bits=np.zeros((60, 4), np.uint8), labels=np.arange(60) % 3)
    with pytest.raises(ConfigError, match=r"reducers: pca reduces numbers, and mine holds packed bits"):
        planned(reducers={"pca": {"size": 2}})


def test_rankers_have_to_fit_the_codes_they_search(planned):
    fits = {"faiss_pq": {"pieces": 4, "bits": 4}}
    planned(rankers=[fits], reducers={"pca": {"size": 8}})
    with pytest.raises(ConfigError, match=r"rankers: features mine by pca-size6: faiss_pq: 4 pieces do not divide"):
        planned(rankers=[fits], reducers=["none", {"pca": {"size": 6}}])


def test_every_reducer_has_codes_and_rankings_of_its_own(planned):
    found = planned(reducers=["none", {"pca": {"size": 4}}], distances=["euclidean", "cosine"])
    assert found.codes() == [
        f"results/s/codes/mine/imported/mine/pca-size4/{side}.h5" for side in ("queries", "gallery")
    ]
    assert found.rankings() == [
        f"results/s/rankings/mine/imported/mine/{reducer}/{distance}/exact.h5"
        for reducer in ("none", "pca-size4")
        for distance in ("euclidean", "cosine")
    ]
    assert set(found.codes()) <= set(found.artifacts())
    ranking = SimpleNamespace(origin="mine/imported", retrieval="mine", reducer="none")
    assert found.searched_features(ranking, "queries") == "results/s/features/mine/imported/gallery.h5"
    ranking.reducer = "pca-size4"
    assert found.searched_features(ranking, "queries") == found.codes()[1]
    assert found.unreduced_features(ranking, "gallery") == "results/s/features/mine/imported/gallery.h5"
    # A reducer more is no matter of the rankings that there are.
    assert planned(distances=["euclidean", "cosine"]).retrieval("mine") == found.retrieval("mine")


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """Return a function that plans one model on doodles, of one class count and one objective."""
    monkeypatch.chdir(tmp_path)

    def make(objective, split, **stage):
        from trazo.training.objectives import facts_of

        network = {"module": "trazo.models.resnets", "features": {"pool": 64}, "smallest": 1}
        answer = {"networks": [network], "objectives": [facts_of(objective)], "distances": distances.names()}
        monkeypatch.setattr(plan, "ask_torch", lambda *_: answer)
        stage = {
            "name": "learn", "data": "pets/train", "objective": objective, "epochs": 1, "batch_size": 32,
            "optimizer": {"adam": {}}, **stage,
        }  # fmt: skip
        retrieval = {
            "models": ["one"],
            "queries": "pets/test",
            "gallery": "pets/train",
            "reducers": {"pca": {"size": 9}},
        }
        study = {
            "title": "t",
            "datasets": {"pets": {"categories": ["cat", "dog"], "split": split, "size": 32}},
            "models": {"one": {"architecture": "resnet18", "feature": "pool", "stages": [stage]}},
            "retrievals": [{**retrieval, "reducers": {"pca": {"size": 9}}}],
        }
        (tmp_path / "s.yaml").write_text(yaml.safe_dump(study))
        return plan.make_plans(Settings(studies=["s.yaml"]), tmp_path / "cache")["s"]

    return make


@pytest.mark.parametrize(
    ("objective", "least"),
    [
        ("contrastive", 2),
        ("triplet", 2),
        ({"triplet": {"mining": "hard", "per_class": 5}, "cross_entropy": {}}, 5),
        ({"pml:CircleLoss": {"per_class": 3}}, 3),
    ],
)
def test_classes_too_small_to_pair_are_refused_before_the_run(trained, objective, least):
    split = {"train": least, "test": 5, "one": 1}
    trained(objective, {**split, "train": 5}, validate_on="pets/test")
    with pytest.raises(ConfigError, match=rf"models.one.stages.learn.data: pets/train has {least - 1} image"):
        trained(objective, {**split, "train": least - 1})
    with pytest.raises(ConfigError, match=r"learn.validate_on: pets/one has 1 image of each class, and .* least 2"):
        trained(objective, {**split, "train": 5}, validate_on="pets/one")
    # How many the rest are, only the data can tell.
    trained(objective, {"test": 5, "train": "rest"})


def test_a_classifier_learns_from_one_image_a_class(trained):
    split = {"train": 1, "test": 5}
    with pytest.raises(ConfigError, match=r"reducers: model one: pca: 9 components of 2 items"):
        trained("cross_entropy", split)
    found = trained("cross_entropy", {**split, "train": "rest"})
    assert found.parts_of_stage("one", "learn")["trazo.training.objectives"] == ["cross_entropy"]


def test_a_borrowed_loss_is_part_of_the_stages_that_name_it_alone(trained):
    split = {"train": 9, "test": 5}
    codes = [
        code_fingerprint("trazo.training.loop", parts=trained(objective, split).parts_of_stage("one", "learn"))
        for objective in ("cross_entropy", "triplet", {"pml:CircleLoss": {"per_class": 3}})
    ]
    parts = trained("pml:CircleLoss", split).parts_of_stage("one", "learn")
    assert parts["trazo.training.objectives"] == ["pml"]
    assert len(set(codes)) == 3


def test_a_ranking_is_of_its_own_ranker_s_code_and_no_other_s(planned, tmp_path):
    found = planned(rankers=["exact", "sklearn", {"faiss_ivf": {"lists": 4, "probes": 2}}])
    library = tmp_path / "trazo"
    shutil.copytree(LIBRARY, library, ignore=shutil.ignore_patterns("__pycache__"))
    file = library / "retrieval" / "rankers.py"

    def fingerprints():
        return {
            label.partition("-")[0]: code_fingerprint(
                "trazo.retrieval.gallery", parts=found.parts_of_ranking("mine", "euclidean", label), root=library
            )
            for label in found.study.retrievals[0].ranker_labels
        }

    def touched(old, new):
        before, text = fingerprints(), file.read_text(encoding="utf-8")
        assert text.count(old) == 1
        file.write_text(text.replace(old, new), encoding="utf-8")
        return {name for name, after in fingerprints().items() if after != before[name]}

    assert touched("faiss.IndexIVFFlat(", "faiss.IndexIVFPQ(") == {"faiss_ivf"}
    assert touched("self.index.add(gallery)", "self.index.add(gallery[:9])") == {"faiss_ivf"}
    assert touched('algorithm="brute"', 'algorithm="auto"') == {"sklearn"}
    assert touched("whole = True", "whole = 1 > 0") == {"exact"}
    assert touched("return faiss.IndexFlat(width, metric)", "return None") == set()
