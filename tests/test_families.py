"""A model whose head lists sizes is a model of each size, wherever a study names it."""

import copy

import pytest
import yaml
from trazo.config import ConfigError, read_settings, read_study
from trazo.errors import InputError
from trazo.families import expanded
from trazo.report.departures import caveat, named_differences

MODEL = {
    "architecture": "resnet18",
    "feature": "pool",
    "stages": [{"name": "c", "data": "a/train", "epochs": 2, "optimizer": {"sgd": {"lr": 0.1}}}],
}
CODED = {key: value for key, value in MODEL.items() if key != "feature"}
STUDY = {
    "title": "t",
    "datasets": {"a": {"split": {"train": 2, "test": 2}}},
    "models": {
        "base": MODEL,
        "crs": {**CODED, "weights": {"model": "base"}, "head": {"crs": {"size": [64, 4]}}},
        "cbs": {**CODED, "head": {"cbs": {"bits": [128, 64]}}},
        "one": {**CODED, "head": {"dsh": {"bits": 64}}},
    },
    "retrievals": [
        {"models": ["base", "cbs", "one"], "queries": "a/test", "gallery": "a/test", "leave_one_out": True},
        {"name": "r", "models": ["crs"], "queries": "a/test", "gallery": "a/train"},
    ],
    "maps": {"m": {"models": ["base", "crs"], "data": "a/test"}},
    "tables": {
        "all": {"title": "t", "metrics": ["map"], "where": {"model": ["crs", "one"], "dataset": "r"}},
        "bits": {"title": "t", "metrics": ["map"], "where": {"model": "cbs"}},
        "none": {"title": "t", "metrics": ["map"]},
    },
    "figures": {
        "some": {"title": "t", "kind": "k", "options": {"models": ["cbs"], "model": "cbs", "per_class": 1}},
        "bare": {"title": "t", "kind": "k"},
    },
    "published": {
        "study": "s",
        "models": [
            {"match": {"reducer": "cbs", "note": "bits"}, "model": "cbs"},
            {"match": {"reducer": "crs", "size": 4}, "model": "crs"},
            {"match": {"model": "net"}, "model": "base"},
        ],
    },
}


def changed(**sections):
    return {**copy.deepcopy(STUDY), **sections}


def test_members_stand_in_the_place_of_their_family():
    before = copy.deepcopy(STUDY)
    found = expanded(STUDY)
    assert before == STUDY
    assert list(found["models"]) == ["base", "crs-64", "crs-4", "cbs-128", "cbs-64", "one"]
    assert found["models"]["crs-4"] == {**CODED, "weights": {"model": "base"}, "head": {"crs": {"size": 4}}}
    assert found["models"]["cbs-128"]["head"] == {"cbs": {"bits": 128}}
    assert found["models"]["one"] == STUDY["models"]["one"]
    assert [r["models"] for r in found["retrievals"]] == [["base", "cbs-128", "cbs-64", "one"], ["crs-64", "crs-4"]]
    assert found["maps"]["m"]["models"] == ["base", "crs-64", "crs-4"]
    assert found["tables"]["all"]["where"] == {"model": ["crs-64", "crs-4", "one"], "dataset": "r"}
    assert found["tables"]["bits"]["where"] == {"model": ["cbs-128", "cbs-64"]}
    assert found["tables"]["none"] == STUDY["tables"]["none"]
    expected = {"models": ["cbs-128", "cbs-64"], "model": ["cbs-128", "cbs-64"], "per_class": 1}
    assert found["figures"]["some"]["options"] == expected
    assert found["published"]["models"] == [
        {"match": {"reducer": "cbs", "note": "bits", "size": "4"}, "model": "cbs-128", "family": "cbs"},
        {"match": {"reducer": "cbs", "note": "bits", "size": "2"}, "model": "cbs-64", "family": "cbs"},
        {"match": {"reducer": "crs", "size": "4"}, "model": "crs-4", "family": "crs"},
        STUDY["published"]["models"][2],
    ]


def test_a_study_without_families_is_as_it_was():
    plain = changed(models={"base": MODEL, "one": STUDY["models"]["one"]})
    assert expanded(plain) == plain
    # What is no study at all is refused where studies are checked.
    for broken in ({"models": ["a"]}, {"models": {"a": 3}}, {"models": {"a": {"head": [1]}}}, {}):
        assert expanded(broken) == broken
    odd = {"models": {"a": {"head": {"cbs": {"bits": [8]}}}}, "tables": 3, "figures": {"f": 1}, "retrievals": [2, {}]}
    assert expanded({**odd, "published": {"models": 3}})["models"] == {"a-8": {"head": {"cbs": {"bits": 8}}}}


def test_published_rules_are_also_of_sizes_that_a_smaller_form_leaves_out():
    quick = changed()
    quick["models"]["cbs"] = {**CODED, "head": {"cbs": {"bits": [64, 16]}}}
    quick["models"]["crs"] = {**CODED, "head": {"crs": {"size": 8}}}
    rules = expanded(quick, STUDY)["published"]["models"]
    assert [(rule["model"], rule["match"].get("size")) for rule in rules] == [
        ("cbs-128", "4"),
        ("cbs-64", "2"),
        ("cbs-16", "0.5"),
        ("crs-4", "4"),
        ("base", None),
    ]


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ({"cbs": {"head": {"cbs": {"bits": []}}}}, r"models.cbs.head.cbs.bits: an empty list"),
        (
            {"cbs": {"head": {"cbs": {"bits": [8, 8]}}}},
            r"models.cbs.head.cbs.bits: a value is listed twice in \[8, 8\]",
        ),
        ({"c": {"head": {"cbs": {"bits": [8]}}}, "c-8": MODEL}, "models.c-8: there is another model 'c-8'"),
        ({"c-8": MODEL, "c": {"head": {"cbs": {"bits": [8]}}}}, "models.c: there is another model 'c-8'"),
        ({"c": {"head": {"cbs": {"bits": [8]}, "crs": {"size": [4]}}}}, "models.c.head: 2 lists of sizes"),
    ],
)
def test_families_that_cannot_be_told_apart_are_refused(models, message):
    with pytest.raises(InputError, match=message):
        expanded({"models": models})


@pytest.fixture
def read(tmp_path):
    """Return a function that writes and reads a study without figures, published values and tables of its own."""

    def read(change=lambda study: None, *, scale="full", original=False, **over):
        study = changed()
        for section in ("figures", "published"):
            del study[section]
        change(study)
        path = tmp_path / "mine.yaml"
        path.write_text(yaml.safe_dump(study, sort_keys=False))
        settings = read_settings({"scale": scale, "overrides": {"mine": over} if over else {}})
        return read_study(str(path), settings, published_size=original)

    return read


def test_a_study_is_read_with_its_families(read):
    study = read()
    assert list(study.models) == ["base", "crs-64", "crs-4", "cbs-128", "cbs-64", "one"]
    assert {name: model.feature for name, model in study.models.items()} == {
        "base": "pool", **dict.fromkeys(["crs-64", "crs-4", "cbs-128", "cbs-64", "one"], "code"),
    }  # fmt: skip
    sizes = {name: (m.head_choice.size, m.head_choice.bits) for name, m in study.models.items() if m.head_choice}
    expected = {"crs-64": (64, 2048), "crs-4": (4, 128), "cbs-128": (4, 128), "cbs-64": (2, 64), "one": (2, 64)}
    assert sizes == expected
    assert study.models["base"].head_choice is None
    # As a training is given it, where nothing looks at the feature.
    again = type(study.models["one"]).model_validate({**study.models["one"].model_dump(mode="json"), "feature": ""})
    assert again == study.models["one"]


def test_quick_and_overrides_change_the_lists(read):
    def smaller(study):
        study["quick"] = {"models": {"cbs": {"head": {"cbs": {"bits": [64]}}, "stages": {"c": {"epochs": 1}}}}}

    study = read(smaller, scale="quick")
    assert study.retrievals[0].models == ["base", "cbs-64", "one"]
    assert study.tables["bits"].where == {"model": "cbs-64"}
    assert study.models["cbs-64"].stages[0].epochs == 1
    study = read(smaller, scale="quick", models={"cbs": {"head": {"cbs": {"bits": 16}}}})
    assert study.retrievals[0].models == ["base", "cbs", "one"]
    assert study.models["cbs"].head_choice.bits == 16


@pytest.mark.parametrize(
    ("models", "words"),
    [
        ({"one": {"head": {"dsh": {"bits": 100}}}}, ["models.one.head", "100 bits", "96 or 104"]),
        ({"cbs": {"head": {"cbs": {"bits": [128, 100]}}}}, ["models.cbs-100.head", "100 bits"]),
        ({"cbs": {"head": {"cbs": {"bits": [128, 128]}}}}, ["study mine: models.cbs.head.cbs.bits", "twice"]),
        ({"one": {"head": {"dhs": {"bits": 64}}}}, ["models.one.head", "unknown head 'dhs'", "dsh"]),
        ({"one": {"head": 3}}, ["models.one.head", "3"]),
        ({"one": {"feature": "pool"}}, ["models.one", "feature: pool", "it is code"]),
        ({"base": {"feature": None}}, ["models.base.feature: this key is required"]),
        ({"base": {"weights": {"model": "cbs"}}}, ["models.base.weights.model", "unknown model 'cbs'", "'cbs-64'"]),
    ],
)
def test_mistakes_are_one_sentence(read, models, words):
    def change(study):
        for name, keys in models.items():
            study["models"][name] = {
                key: value for key, value in {**study["models"][name], **keys}.items() if value is not None
            }

    with pytest.raises(ConfigError) as caught:
        read(change)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_members_that_a_smaller_form_leaves_out_are_told_in_one_sentence(read):
    def many(study):
        study["models"]["crs"]["head"]["crs"]["size"] = [64, 32, 16, 8, 4, 2, 1]
        study["quick"] = {"models": {"crs": {"head": {"crs": {"size": [8]}}}, "cbs": {"head": {"cbs": {"bits": [24]}}}}}

    study, original = read(many, scale="quick"), read(many, original=True)
    told = [line for line in named_differences(study, original) if "model" in line and "retrieval" not in line]
    assert "model cbs-24 was added" in told
    assert "8 models (crs-64, crs-32, crs-16, …) were left out" in told
    words = caveat(study, original, read_settings({}), models=["crs-8"])
    assert words.endswith("crs-8: stage c of base at epoch 2, code and classifier drawn at random.")
