"""What planning knows of starting weights: files to read, and what is refused before anything runs."""

import pytest
import yaml
from trazo import planning
from trazo.config import ConfigError, Settings
from trazo.probe import answer
from trazo.retrieval.distances import distances
from trazo.training.objectives import facts_of

MODEL = {
    "architecture": "resnet18",
    "feature": "pool",
    "stages": [
        {"name": name, "data": "d/train", "epochs": 2, "checkpoints": [1], "optimizer": {"sgd": {"lr": 0.1}}}
        for name in ("one", "two")
    ],
}

# Its first fully connected layer has a weight for every pixel that is left.
SKETCH = {"architecture": "sknet", "feature": "fc1"}
SIZED = SKETCH | {"options": {"widths": [2, 2, 2, 2], "fc": 8}}

DEEP = {"architecture": "resnet50", "options": {"width": 4}}


@pytest.fixture
def with_models(tmp_path, monkeypatch):
    """Return a function that plans studies of models, from their names to the changes of `MODEL`."""
    monkeypatch.chdir(tmp_path)
    for name in ("w.pth", "{w}.pth"):
        (tmp_path / name).write_bytes(b"weights")
    (tmp_path / "folder").mkdir()

    def told(requests, written, _):
        known = {"module": "m", "features": {"pool": 4}, "smallest": 1}
        networks = [{**known, "pretrained": "theirs" * (r["architecture"] == "resnet50")} for r in requests]
        return {"networks": networks, "objectives": [facts_of(w) for w in written], "distances": distances.names()}

    monkeypatch.setattr(planning, "ask_torch", told)

    def make(**studies):
        sources = {"mine": "w.pth", "there": "http://a.b/w.pth", "gone": "nowhere.pth"}
        for study, models in studies.items():
            text = {
                "title": "t",
                "datasets": {"d": {"categories": ["cat", "dog"], "split": {"train": 4}}},
                "models": {name: {**MODEL, **changes} for name, changes in models.items()},
            }
            (tmp_path / f"{study}.yaml").write_text(yaml.safe_dump(text))
        settings = Settings(studies=[f"{name}.yaml" for name in studies], sources=sources)
        return planning.make_plans(settings, tmp_path / "cache")

    return make


@pytest.mark.parametrize(
    ("weights", "path"),
    [
        (None, []),
        ("pretrained", []),
        ("mine", ["w.pth"]),
        ("./w.pth", ["w.pth"]),
        ({"model": "base"}, ["results/s/models/base/seed3/two/checkpoint.pt"]),
        ({"model": "base", "stage": "one", "epoch": 1}, ["results/s/models/base/seed3/one/checkpoint.pt"]),
        (
            "results/other/models/base/seed0/one/checkpoint.pt",
            ["results/other/models/base/seed0/one/checkpoint.pt"],
        ),
        (
            "results/demo/models/small/seed0/classify/checkpoint.pt",
            ["results/demo/models/small/seed0/classify/checkpoint.pt"],
        ),
    ],
)
def test_the_first_stage_reads_the_weights_it_starts_from(with_models, weights, path):
    base = {"architecture": "resnet18" if weights != "pretrained" else "resnet50", "channels": 3}
    if isinstance(weights, str) and "demo" in weights:
        base |= {"channels": 1}
    found = with_models(s={"base": {}, "mine": {**base, "weights": weights}}, other={"base": {}})["s"]
    assert found.starting_weights("mine", 3, "one") == path
    assert found.starting_weights("mine", 3, "two") == []
    assert found.starting_weights("base", 3, "one") == []
    assert found.training_settings("mine", "one")["weights"] == found.study.models["mine"].model_dump()["weights"]
    assert found.training_settings("base", "one")["weights"] is None
    named = {"mine"} if weights == "mine" else set()
    assert set(found.settings_of_report()["sources"]) == named


def test_an_absolute_path_to_what_the_workflow_makes_is_what_it_makes(with_models, tmp_path):
    place = tmp_path / "results/s/models/base/seed0/two/checkpoint.pt"
    found = with_models(s={"base": {}, "mine": {"weights": str(place)}})["s"]
    assert found.starting_weights("mine", 0, "one") == ["results/s/models/base/seed0/two/checkpoint.pt"]


RESULTS = "results/s/models"


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ("minne", ["'minne' is no file", "'mine'"]),
        ("pretraned", ["'pretrained'"]),
        ("gone", ["'gone' is nowhere.pth, which is no file"]),
        ("folder", ["'folder' is no file"]),
        ("{w}.pth", ["'{w}' in '{w}.pth'", "rename"]),
        ("there", ["is a URL", "download it"]),
        ("https://a.b/c.pth", ["is a URL", "download it"]),
        ("pretrained", ["no pretrained weights of resnet18", "resnet50"]),
        (f"{RESULTS}/bse/seed0/one/checkpoint.pt", ["unknown model 'bse'", "'base'"]),
        (f"{RESULTS}/base/seed0/oen/checkpoint.pt", ["unknown stage 'oen'", "'one'"]),
        (f"{RESULTS}/base/seed7/one/checkpoint.pt", ["seeds [0]"]),
        ("results/../models/base/seed0/one/checkpoint.pt", ["is no file"]),
        (f"{RESULTS}/mine/seed0/one/checkpoint.pt", ["itself", "s/mine from s/mine"]),
        ("results/dmo/models/small/seed0/classify/checkpoint.pt", ["'dmo'", "'demo'", "elsewhere"]),
        ({"model": "grey"}, ["channels is 3", "grey is 1"]),
        ({"model": "deep"}, ["architecture is resnet18", "deep is resnet50"]),
    ],
)
def test_weights_that_are_nowhere_or_cannot_fit_are_refused_before_the_run(with_models, weights, words):
    others = {"base": {}, "grey": {"channels": 1}, "deep": {"architecture": "resnet50"}}
    with pytest.raises(ConfigError) as caught:
        with_models(s={**others, "mine": {"weights": weights}})
    assert all(word in str(caught.value) for word in ["study s: models.mine.weights", *words]), str(caught.value)


@pytest.mark.parametrize(
    ("ours", "theirs", "words"),
    [
        (
            {"options": {"width": 4}},
            {"options": {"width": 8}},
            ["stem, ", "options {'width': 4} (there {'width': 8})"],
        ),
        (SIZED | {"size": 192}, SIZED | {"size": 128}, ["fit: fc1 differ, ", "size 192 (there 128)"]),
        (DEEP, {**DEEP, "options": {"width": 4, "embedding": 8}}, ["embedding differ"]),
    ],
)
def test_weights_of_a_network_of_another_shape_are_refused_before_the_run(
    with_models, monkeypatch, ours, theirs, words
):
    monkeypatch.setattr(planning, "ask_torch", lambda requests, written, _: answer(requests, written))
    for elsewhere in (False, True):
        mine = {**ours, "weights": "results/o/models/base/seed0/one/checkpoint.pt" if elsewhere else {"model": "base"}}
        studies = {"s": {"mine": mine}, "o": {"base": theirs}} if elsewhere else {"s": {"base": theirs, "mine": mine}}
        with pytest.raises(ConfigError) as caught:
            with_models(**studies)
        told = ["study s: models.mine.weights: the weights of base do not fit", *words]
        assert all(word in str(caught.value) for word in told), str(caught.value)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({"options": {"width": 4}, "size": 64}, {"options": {"width": 4}, "size": 32}),
        ({**DEEP, "options": {"width": 4, "embedding": 8}}, DEEP),
        ({**SKETCH, "options": {"dropout": 0.1}}, {**SKETCH, "options": {"dropout": 0.4}}),
    ],
)
def test_weights_that_fit_in_spite_of_other_options_are_let_through(with_models, monkeypatch, ours, theirs):
    monkeypatch.setattr(planning, "ask_torch", lambda requests, written, _: answer(requests, written))
    found = with_models(s={"base": theirs, "mine": {**ours, "weights": {"model": "base"}}})
    assert found["s"].starting_weights("mine", 0, "one") == ["results/s/models/base/seed0/two/checkpoint.pt"]


def test_studies_that_start_from_each_other_are_refused(with_models):
    with pytest.raises(ConfigError, match=r"itself \(a/x from b/y from b/x from a/x\)"):
        with_models(
            a={"x": {"weights": "results/b/models/y/seed0/two/checkpoint.pt"}},
            b={"x": {"weights": "results/a/models/x/seed0/one/checkpoint.pt"}, "y": {"weights": {"model": "x"}}},
        )
