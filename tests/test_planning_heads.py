"""What planning knows of models with a head: how wide their codes are, what they start from and depend on."""

import numpy as np
import pytest
import yaml
from trazo import planning
from trazo.config import ConfigError, Settings
from trazo.probe import answer
from trazo.provenance import code_fingerprint, modules_behind

STAGE = {"epochs": 1, "batch_size": 6, "optimizer": {"sgd": {"lr": 0.1}}, "name": "c", "data": "d/train"}
HASHED = {**STAGE, "objective": {"dsh": {"weight": 0.4}, "cross_entropy": {"weight": 0.6}}}
BASE = {"architecture": "resnet18", "options": {"width": 4}, "feature": "pool", "stages": [STAGE]}
CODED = {"architecture": "resnet18", "options": {"width": 4}, "weights": {"model": "base"}, "stages": [HASHED]}


@pytest.fixture
def planned(tmp_path, monkeypatch):
    """Return a function that plans a study of `base` and of further models, all in one retrieval."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(planning, "ask_torch", lambda requests, written, _: answer(requests, written))

    def make(models, **sections):
        study = {
            "title": "t",
            "datasets": {"d": {"categories": ["cat", "dog"], "split": {"train": 4, "test": 4}, "size": 32}},
            "models": {"base": BASE, **models},
            **sections,
        }
        (tmp_path / "s.yaml").write_text(yaml.safe_dump(study))
        return planning.make_plans(Settings(studies=["s.yaml"]), tmp_path / "cache")["s"]

    return make


def test_codes_are_as_wide_as_they_are_stored(planned):
    heads = {"crs": {"crs": {"size": [6, 3]}}, "dsh": {"dsh": {"bits": [64, 24]}}}
    found = planned({name: {**CODED, "head": head} for name, head in heads.items()})
    assert found.widths == {"base": 32, "crs-6": 6, "crs-3": 3, "dsh-64": 8, "dsh-24": 3}
    assert found.starting_weights("dsh-24", 0, "c") == ["results/s/models/base/seed0/c/checkpoint.pt"]
    assert found.training_settings("dsh-24", "c")["head"] == {"dsh": {"bits": 24}}
    assert found.training_settings("base", "c")["head"] is None
    # Planned for the size it has: one more bit is another training.
    assert found.training_settings("dsh-24", "c") != found.training_settings("dsh-64", "c")


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ({"head": {"crs": {"size": 5}}, "weights": {"model": "other"}}, ["of other do not fit: code differ", "head"]),
        ({"feature": "pool", "weights": {"model": "other"}}, ["of other do not fit: code differ", "head None (there"]),
    ],
)
def test_weights_with_another_code_are_refused_before_the_run(planned, model, words):
    other = {**CODED, "head": {"crs": {"size": 4}}}
    with pytest.raises(ConfigError) as caught:
        planned({"other": other, "mine": {**CODED, **model}})
    assert all(word in str(caught.value) for word in ["models.mine.weights", *words]), str(caught.value)


def test_weights_with_the_same_code_are_let_through(planned):
    other = {**CODED, "head": {"dtsh": {"bits": 16}}}
    found = planned({"other": other, "mine": {**CODED, "head": {"dsh": {"bits": 16}}, "weights": {"model": "other"}}})
    assert found.starting_weights("mine", 0, "c") == ["results/s/models/other/seed0/c/checkpoint.pt"]


def test_maps_are_drawn_of_numbers(planned):
    models = {"crs": {**CODED, "head": {"crs": {"size": 6}}}, "cbs": {**CODED, "head": {"cbs": {"bits": 16}}}}
    planned(models, maps={"m": {"models": ["base", "crs"], "data": "d/test", "most": 8, "neighbours": 2,
                                "options": {"n_neighbors": 3}}})  # fmt: skip
    with pytest.raises(
        ConfigError, match=r"maps.m.models: cbs gives packed bits \(cbs\), and a map is drawn of numbers"
    ):
        planned(models, maps={"m": {"models": ["base", "cbs"], "data": "d/test"}})


def test_a_step_depends_on_the_head_and_objective_in_use_alone(planned):
    found = planned({"dsh": {**CODED, "head": {"dsh": {"bits": 16}}}})
    parts = found.parts_of_stage("dsh", "c")
    assert parts["trazo.models.heads"] == found.parts_of_head("dsh")["trazo.models.heads"] == ["dsh"]
    assert parts["trazo.training.hashing"] == ["cross_entropy", "dsh"]
    plain = found.parts_of_stage("base", "c")
    assert found.parts_of_head("base") == {"trazo.models.heads": []}
    modules = found.objective_modules("dsh", "c")
    assert (modules, found.objective_modules("base", "c")) == (["trazo.training.hashing"], [])
    # What hashing is made of is no matter of who does without it.
    assert "trazo.training.hashing" not in modules_behind("trazo.training.loop")

    def code_of(parts, *modules):
        return code_fingerprint("trazo.training.loop", *modules, parts=parts)

    codes = [code_of(plain), code_of({**plain, "trazo.models.heads": ["crs"]}), code_of(parts, *modules)]
    codes.append(code_of({**parts, "trazo.training.hashing": ["cross_entropy", "dtsh"]}, *modules))
    assert len(set(codes)) == 4


def test_imported_bits_and_codes_of_a_network_have_one_width(planned):
    np.savez("mine.npz", bits=np.zeros((6, 3), np.uint8), labels=np.arange(6) % 2)
    found = planned({"dsh": {**CODED, "head": {"dsh": {"bits": 24}}}}, features={"mine": {"source": "mine.npz"}},
                    retrievals=[{"features": ["mine"]}])  # fmt: skip
    assert found.widths["dsh"] == found.imported["mine"].width
