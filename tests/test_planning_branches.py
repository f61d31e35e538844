"""What planning says of networks with two branches, of their data, and of searches for the very object."""

import copy
import json

import numpy as np
import pytest
import yaml
from PIL import Image
from trazo import planning
from trazo.config import ConfigError, read_settings
from trazo.probe import answer

CLASSES = ("cat", "duck", "fish")
OBJECTS = 4


def write_pairs(folder, seed=0):
    """Write sketches and photos of the same objects: a bar each, where it is says the object, how it lies the class."""
    rng = np.random.default_rng(seed)
    for kind, name in enumerate(CLASSES):
        for number in range(OBJECTS):
            photo = rng.integers(90, 160, (32, 32, 3), dtype=np.uint8)
            at = 4 + 6 * number
            bar = [np.s_[at : at + 3, :], np.s_[:, at : at + 3], np.s_[at : at + 3, at : at + 3]][kind]
            photo[bar] = (250, 60 * kind, 20)
            path = folder / "photo" / name / f"o{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(photo).save(path)
            for copy_of in range(2):
                sketch = np.full((32, 32), 255, np.uint8)
                sketch[bar] = 0
                sketch[rng.integers(0, 32, 6), rng.integers(0, 32, 6)] = 0
                path = folder / "sketch" / name / f"o{number}-{copy_of}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(sketch).save(path)
    return folder


STAGE = {"epochs": 1, "batch_size": 6, "optimizer": {"sgd": {"lr": 0.01}}}
NETWORK = {"architecture": "seresnet26", "options": {"width": 8}, "feature": "pool", "mean_image": False}
BRANCHED = {
    **NETWORK,
    "branches": {"shared_from": "layer3"},
    "weights": {"sketch": {"model": "sketches"}, "photo": {"model": "photos"}, "shared": {"model": "base"}},
    "stages": [
        {
            **STAGE,
            "name": "classes",
            "data": ["sketches/train", "photos/all"],
            "objective": {"cross_entropy": {"weight": 1.5}, "triplet": {"weight": 0.5}},
            "checkpoints": [0],
            "augment": {"flip": 0.5, "crop": 0.8},
        },
        {
            **STAGE,
            "name": "instances",
            "data": ["sketches/train", "photos/all"],
            "objective": {"cross_entropy": {}, "triplet": {"draw": "instances"}},
        },
    ],
}
STUDY = {
    "title": "Pairs",
    "datasets": {
        "sketches": {
            "source": "pairs",
            "layout": "folders",
            "folder": "sketch",
            "split": {"test": 2, "train": "rest"},
            "size": 32,
            "domain": "sketch",
            "instance": r"(.+)-\d+",
        },
        "photos": {
            "source": "pairs",
            "layout": "folders",
            "folder": "photo",
            "split": {"all": "rest"},
            "size": 32,
            "channels": 3,
            "domain": "photo",
            "instance": "(.+)",
            "stream": True,
        },
    },
    "models": {
        "sketches": {**NETWORK, "stages": [{**STAGE, "name": "s", "data": "sketches/train"}]},
        "photos": {**NETWORK, "stages": [{**STAGE, "name": "p", "data": "photos/all"}]},
        "base": {**NETWORK, "stages": [{**STAGE, "name": "b", "data": "photos/all"}], "mean_image": True},
        "both": BRANCHED,
    },
    "retrievals": [
        {
            "name": "kinds",
            "models": ["both"],
            "stage": "all",
            "epochs": "all",
            "queries": "sketches/test",
            "gallery": "photos/all",
            "metrics": ["map", "p@1"],
            "top": 5,
        },
        {
            "name": "objects",
            "models": ["both"],
            "queries": "sketches/test",
            "gallery": "photos/all",
            "relevant": "instance",
            "metrics": ["recall@1", "recall@5", "mrr"],
            "top": 5,
        },
    ],
    "tables": {
        "stages": {
            "title": "By stage",
            "metrics": ["map"],
            "rows": ["stage", "epoch"],
            "columns": ["metric"],
            "where": {"dataset": "kinds"},
        }
    },
    "figures": {
        "objects": {"title": "Objects", "kind": "contact_sheet", "options": {"retrieval": "objects", "top": 5}}
    },
}


def changed(*changes):
    """Return the study with values replaced, each given as the keys that lead to it and the value; ... removes."""
    study = copy.deepcopy(STUDY)
    for *keys, last, value in changes:
        inner = study
        for key in keys:
            inner = inner[key]
        if value is ...:
            del inner[last]
        else:
            inner[last] = value
    return study


BOTH = ("models", "both")
FIRST, SECOND = (*BOTH, "stages", 0), (*BOTH, "stages", 1)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return write_pairs(tmp_path_factory.mktemp("pairs"))


@pytest.fixture
def planned(pairs, tmp_path, monkeypatch):
    monkeypatch.setattr(
        planning,
        "ask_torch",
        lambda requests, written, cache, changes=(): json.loads(json.dumps(answer(requests, written, changes))),
    )

    def make(study):
        file = tmp_path / "branched.yaml"
        file.write_text(yaml.safe_dump(study, sort_keys=False))
        values = {"studies": [str(file)], "sources": {"pairs": str(pairs)}}
        return planning.make_plans(read_settings(values), tmp_path / "cache")["branched"]

    return make


def test_a_study_of_two_branches_is_planned(planned):
    plan = planned(STUDY)
    assert plan.training_images("both", "classes") == [
        "results/branched/images/sketches/train.h5",
        "results/branched/images/photos/all.h5",
    ]
    assert plan.domains("both", "classes", "data") == ["sketch", "photo"]
    assert plan.starting_weights("both", 0, "classes") == [
        f"results/branched/models/{name}/seed0/{stage}/checkpoint.pt"
        for name, stage in (("sketches", "s"), ("photos", "p"), ("base", "b"))
    ]
    assert plan.starting_weights("both", 0, "instances") == []
    assert (plan.domain("both", "photos"), plan.domain("photos", "photos")) == ("photo", None)
    assert {path.split("/")[5:7] == ["classes", "epoch0"] for path in plan.rankings()} == {True, False}
    assert len([path for path in plan.rankings() if "/kinds/" in path]) == 3


def test_the_order_of_two_data_sets_does_not_matter(planned):
    turned = changed(("models", "both", "stages", 0, "data", ["photos/all", "sketches/train"]))
    ours, theirs = planned(turned), planned(STUDY)
    assert ours.training_images("both", "classes") == theirs.training_images("both", "classes")
    assert ours.training_settings("both", "classes") == theirs.training_settings("both", "classes")
    swapped = changed((*FIRST, "augment", {"crop": 0.8, "flip": 0.5}))
    assert json.dumps(planned(swapped).training_settings("both", "classes")) == json.dumps(
        theirs.training_settings("both", "classes")
    )


def test_the_domain_of_a_dataset_reaches_only_what_it_changes(planned):
    plan = planned(STUDY)
    assert plan.domains("sketches", "s", "data") == [None]
    augmented = planned(changed(("models", "sketches", "stages", 0, "augment", {"thickness": 1})))
    assert augmented.domains("sketches", "s", "data") == ["sketch"]
    assert "domain" not in plan.dataset_settings("sketches", "train")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ([(*BOTH, "branches", "shared_from", "layer5")], ["models.both.branches.shared_from", "'layer5'", "layer4"]),
        ([(*BOTH, "branches", ...)], ["weights of sketch, photo and shared", "branches"]),
        ([(*BOTH, "branches", ...), (*BOTH, "weights", ...)], ["stages.classes.data", "two data sets", "branches"]),
        ([("datasets", "photos", "domain", ...)], ["stages.classes.data", "datasets.photos", "domain: photo"]),
        ([("datasets", "photos", "domain", "sketch")], ["sketches/train and photos/all", "both of domain sketch"]),
        ([("datasets", "photos", "size", 64)], ["stages.classes.data", "32 and 64 pixels", "size"]),
        ([("datasets", "photos", "categories", ["cat", "duck"])], ["stages.classes.data", "fish"]),
        ([("datasets", "sketches", "rename", {"fish": "whale"})], ["data", "fish", "whale"]),
        ([("datasets", "photos", "instance", ...)], ["datasets.photos", "instance", "pattern"]),
        ([(*SECOND, "data", "sketches/train")], ["stages.instances.data", "draw: instances", "one data set"]),
        ([(*FIRST, "augment", {"filp": 0.5})], ["stages.classes.augment", "'flip'"]),
        ([(*FIRST, "augment", {"flip": 3})], ["stages.classes.augment", "flip", "3"]),
        (
            [(*FIRST, "objective", {"triplet": {"mining": "hard", "per_class": 2}})],
            ["stages.classes.data", "by class alone"],
        ),
        ([(*FIRST, "data", ["sketches/train", "sketches/train"])], ["stages[0].data", "two different ones"]),
        ([(*BOTH, "weights", {"sketch": {"model": "sketchs"}})], ["models.both.weights.sketch.model", "'sketches'"]),
        ([(*BOTH, "weights", {})], ["models.both.weights"]),
        ([(*BOTH, "weights", {"sketc": {"model": "base"}})], ["models.both.weights", "sketc", "sketch"]),
        ([(*BOTH, "branches", "shared_from", "stem")], ["models.both.weights.sketch", "all layers are shared"]),
        (
            [("models", "base", "branches", {"shared_from": "layer4"})],
            ["models.both.weights.shared", "layer4", "twice"],
        ),
        ([(*FIRST, "validate_on", "sketches/test")], ["stages.classes.validate_on", "one of the two"]),
        ([("retrievals", 1, "votes", [1])], ["retrievals[1]", "votes", "instance"]),
        ([("retrievals", 0, "stage", "clases")], ["retrievals[0].stage", "'classes'", "all"]),
        ([(*FIRST, "name", "all")], ["models.both.stages", "'all'"]),
        ([("models", "photos", "options", {"width": 16})], ["models.both.weights", "photos", "width"]),
    ],
)
def test_a_mistake_is_told_before_anything_runs(planned, changes, words):
    with pytest.raises(ConfigError) as told:
        planned(changed(*changes))
    assert all(word in str(told.value) for word in words), str(told.value)


def test_objects_are_searched_for_where_the_data_name_them(planned):
    study = changed(
        ("datasets", "sketches", "instance", ...),
        (*SECOND, "objective", "cross_entropy"),
    )
    with pytest.raises(ConfigError, match=r"retrievals\[1\].relevant: instance: datasets.sketches does not say"):
        planned(study)


def test_sketches_without_their_photo_are_named_before_anything_is_trained(pairs, planned, tmp_path):
    planned(STUDY)
    for number in range(OBJECTS):
        (pairs / "photo" / "cat" / f"o{number}.png").rename(tmp_path / f"{number}.png")
    try:
        (tmp_path / "0.png").rename(pairs / "photo" / "cat" / "other.png")
        with pytest.raises(ConfigError, match=r"stages.instances.data: 6 of 18 sketches have no photo .*'cat/o[0-3]'"):
            planned(STUDY)
    finally:
        (pairs / "photo" / "cat" / "other.png").rename(tmp_path / "0.png")
        for number in range(OBJECTS):
            (tmp_path / f"{number}.png").rename(pairs / "photo" / "cat" / f"o{number}.png")
    planned(STUDY)


def test_models_that_start_from_each_other_by_parts_are_refused(planned):
    study = changed(("models", "photos", "weights", {"model": "both"}))
    with pytest.raises(ConfigError, match="no model can start from itself"):
        planned(study)
