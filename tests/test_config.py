"""A mistake in the configuration is one sentence that names the key and the choices."""

import copy
from pathlib import Path

import pytest
import torch
import yaml
from trazo.config import (
    ConfigError,
    Model,
    RateSchedule,
    Retrieval,
    Study,
    differences,
    overlaid,
    read_settings,
    read_study,
    study_file,
)

STUDY = {
    "title": "t",
    "datasets": {"a": {"split": {"train": 2, "test": 2}}},
    "models": {
        "m": {
            "architecture": "alexnet",
            "feature": "fc7",
            "stages": [{"name": "c", "data": "a/train", "epochs": 2, "optimizer": {"sgd": {"lr": 0.1}}}],
        }
    },
    "retrievals": [{"models": ["m"], "queries": "a/test", "gallery": "a/test", "leave_one_out": True}],
    "quick": {"datasets": {"a": {"split": {"train": 1}}}},
}


@pytest.fixture
def study_path(tmp_path):
    def write(change=lambda study: None):
        study = copy.deepcopy(STUDY)
        change(study)
        path = tmp_path / "mine.yaml"
        path.write_text(yaml.safe_dump(study))
        return str(path)

    return write


def set_in(*path, value):
    def change(study):
        for key in path[:-1]:
            study = study[key]
        study[path[-1]] = value

    return change


def with_second(first_starts=None, **second):
    """Add a model `n` as `m` is, with changes of its own, and let `m` start where told."""

    def change(study):
        study["models"]["n"] = {**copy.deepcopy(study["models"]["m"]), **second}
        study["models"]["m"]["weights"] = first_starts

    return change


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"studys": ["demo"]}, ["studys", "studies"]),
        ({"scale": "fast"}, ["scale", "'fast'", "full", "quick"]),
        ({"device": "gpu"}, ["device", "'gpu'", "cuda"]),
        ({"threads": -1}, ["threads", "-1"]),
        ({"studies": []}, ["studies"]),
        ({"studies": ["a/x.yaml", "b/x.yaml"]}, ["studies", "share a name"]),
        ({"sources": {"../up": "http://a.b/c"}}, ["sources", "'../up'", "without '/', braces"]),
        ({"sources": {"..": "http://a.b/c"}}, ["sources", "'..'"]),
        ({"sources": {"a{b}": "http://a.b/c"}}, ["sources", "'a{b}'"]),
        ({"sources": {"a\\b": "x"}}, ["sources", "cannot be the name of a source"]),
        ({"sources": {"a\x1b[2J": "x"}}, ["sources", r"'a\x1b[2J'"]),
        ({"overrides": {"mine": {"title": "[&a x, {"}}}, ["overrides", "expected the node content"]),
        ({"overrides": {"mine": {"title": "!!python/name:os.system"}}}, ["overrides", "could not determine"]),
    ],
)
def test_settings_mistakes(values, words):
    with pytest.raises(ConfigError) as caught:
        read_settings(values)
    assert all(word in str(caught.value) for word in words), str(caught.value)


MODEL = ("models", "m")
STAGE = ("models", "m", "stages", 0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (set_in(*STAGE, "epoch", value=3), ["models.m.stages[0].epoch", "'epochs'"]),
        (set_in(*STAGE, "epochs", value=-1), ["models.m.stages[0].epochs", "-1"]),
        (set_in(*STAGE, "iterations", value=0), ["models.m.stages[0].iterations", "0"]),
        (set_in(*STAGE, "iterations", value=1), ["models.m.stages[0]", "1 iterations", "2 epochs"]),
        (lambda s: s["models"]["m"]["stages"][0].update(iterations=9, epochs=0), ["9 iterations", "0 epochs"]),
        (set_in(*STAGE, "objective", value=3), ["models.m.stages[0].objective", "3"]),
        (set_in(*STAGE, "objective", value={"triplet": 5}), ["models.m.stages[0].objective", "triplet", "5"]),
        (set_in(*STAGE, "batch_size", value="big"), ["models.m.stages[0].batch_size", "'big'"]),
        (set_in(*STAGE, "optimizer", "adam", value={}), ["optimizer", "exactly one"]),
        (set_in(*STAGE, "optimizer", "sgd", "learning_rate", value=1), ["sgd.learning_rate", "lr"]),
        (set_in(*STAGE, "optimizer", value={"sgd": {"lr": 0.1, "nesterov": True}}), ["nesterov", "momentum"]),
        (set_in(*STAGE, "checkpoints", value=[1, 9]), ["[9]", "expected 0 to 2"]),
        (set_in(*STAGE, "checkpoints", value=[-1]), ["[-1]", "expected 0 to 2"]),
        (set_in(*STAGE, "data", value="b/train"), ["unknown dataset 'b'", "a"]),
        (set_in(*STAGE, "validate_on", value="a/tst"), ["unknown split 'tst'", "'test'"]),
        (set_in(*MODEL, "architectur", value="x"), ["models.m.architectur", "'architecture'"]),
        (set_in(*MODEL, "normalise", value="image-net"), ["models.m.normalise", "'image-net'", "imagenet"]),
        (lambda s: s["models"]["m"].update(normalise="imagenet", mean_image=True), ["models.m", "`mean_image`"]),
        (lambda s: s["models"]["m"].update(normalise="imagenet", channels=1), ["models.m", "channels: 3"]),
        (lambda s: s["models"]["m"].update(weights="pretrained", channels=1), ["models.m", "channels: 3"]),
        (set_in(*MODEL, "weights", value="none"), ["models.m.weights", "'none'", "leave"]),
        (set_in(*MODEL, "weights", value=3), ["models.m.weights", "3"]),
        (set_in(*MODEL, "weights", value={"modle": "n"}), ["models.m.weights.modle", "'model'"]),
        (set_in(*MODEL, "weights", value={"model": "m2"}), ["models.m.weights.model", "'m2'", "Did you mean 'm'"]),
        (set_in(*MODEL, "weights", value={"model": "m"}), ["models.m.weights", "itself", "m from m"]),
        (with_second(weights={"model": "m", "stage": "d"}), ["models.n.weights.stage", "'d'", "c"]),
        (with_second(weights={"model": "m", "epoch": 1}), ["models.n.weights.epoch", "[2]", "`checkpoints`"]),
        (with_second({"model": "n"}, weights={"model": "m"}), ["weights", "itself", "m from n from m"]),
        (set_in("datasets", "a", "categories", value={"randm": 3}), ["categories", "'random'"]),
        (set_in("datasets", "a", "categories", value=["x", "x"]), ["categories", "twice"]),
        (set_in("datasets", "a", "split", value={"train": 0}), ["split", "0 items"]),
        (set_in("datasets", "a", "split", value={"train": "rest", "test": "rest"}), ["only one split"]),
        (set_in("datasets", "a", "split", value={"train": "al"}), ["split", "'al'", "`rest` or `all`"]),
        (set_in("datasets", "a", "class_pattern", value="([^_]+"), ["class_pattern", "no regular expression"]),
        (set_in("datasets", "a", "class_pattern", value="^[^_]+_"), ["class_pattern", "0 groups", "parentheses"]),
        (set_in("datasets", "a", "instance", value="(.+-"), ["datasets.a.instance", "no regular expression"]),
        (set_in("datasets", "a", "instance", value=".+"), ["datasets.a.instance", "0 groups", "the object"]),
        (set_in("datasets", "a", "instance", value="(.)(.)"), ["datasets.a.instance", "2 groups"]),
        (
            set_in("datasets", "a", "domain", value="sketches"),
            ["datasets.a.domain", "'sketches'", "'sketch' or 'photo'"],
        ),
        (set_in("datasets", "a", "rename", value={"x": "a/b"}), ["datasets.a.rename", "'a/b'", "no name of a class"]),
        (set_in("datasets", "a", "rename", value={"x": " a"}), ["datasets.a.rename", "' a'", "no name of a class"]),
        (set_in("datasets", "a", "rename", value={"x": ""}), ["datasets.a.rename", "''", "no name of a class"]),
        (set_in("datasets", "a", "rename", value={"x": "z", "y": "z"}), ["datasets.a.rename", "'x'", "'y'", "both"]),
        (set_in("datasets", "a", "size", value=4), ["datasets.a.size", "4"]),
        (set_in("datasets", "a", "raster", value={"margin": 128}), ["margin", "256"]),
        (set_in("datasets", value={"../up": {"split": {"x": 1}}}), ["'../up'", "path"]),
        (set_in("datasets", "a", "split", value={"../up": 1}), ["datasets.a.split", "'../up'", "path"]),
        (lambda s: s["models"].update({"../up": s["models"]["m"]}), ["'../up'", "path"]),
        (lambda s: s["models"].update({"/etc": s["models"]["m"]}), ["'/etc'", "path"]),
        (set_in(*STAGE, "name", value="../up"), ["models.m.stages[0].name", "'../up'", "path"]),
        (set_in("retrievals", 0, "name", value="../up"), ["'../up'", "path"]),
        (set_in("retrievals", 0, "name", value="a\n"), [r"'a\n'", "path"]),
        (set_in("tables", value={"../up": {"title": "t", "metrics": ["map"]}}), ["'../up'", "path"]),
        (set_in("figures", value={"..": {"title": "t", "kind": "class_bars"}}), ["'..'", "path"]),
        (set_in("maps", value={"a/b": {"models": ["m"], "data": "a/test"}}), ["'a/b'", "path"]),
        (set_in("features", value={".hidden": {"source": "x.npz"}}), ["'.hidden'", "path"]),
        (lambda s: s["models"].update({"m" * 101: s["models"]["m"]}), ["101 characters", "at most 100"]),
        (set_in("title", value=["x" * 1000]), ["title: got ['" + "x" * 198 + "…; "]),
        (set_in("retrievals", 0, "models", value=["n"]), ["unknown model 'n'"]),
        (set_in("retrievals", 0, "epochs", value=[1]), ["[1]", "checkpoints"]),
        (set_in("retrievals", 0, "stage", value="d"), ["unknown stage 'd'"]),
        (set_in("retrievals", 0, "leave_one_out", value="maybe"), ["leave_one_out"]),
        (set_in("retrievals", 0, "folds", value=1), ["retrievals[0].folds", "1 fold leaves nothing to fit on"]),
        (set_in("retrievals", 0, "folds", value=-2), ["retrievals[0].folds", "-2"]),
        (
            set_in("retrievals", 0, "reducers", value=[{"pca": {"size": []}}]),
            ["retrievals[0].reducers", "pca: option 'size' has an empty list"],
        ),
        (set_in("retrievals", 0, "reducers", value={"pca": {"size": [8, 4, 8]}}), ["pca-size8 is listed twice"]),
        (set_in("quick", value={"dataset": {}}), ["quick", "'dataset'", "'datasets'"]),
        (lambda study: study.pop("title"), ["title", "required"]),
    ],
)
def test_study_mistakes(study_path, change, words):
    with pytest.raises(ConfigError) as caught:
        read_study(study_path(change), read_settings({}))
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert ".." not in str(caught.value).replace("'../up'", "").replace("'..'", "")


def test_the_mean_image_is_subtracted_unless_colours_are_normalised(study_path):
    def model(**keys):
        return read_study(study_path(lambda s: s["models"]["m"].update(keys)), read_settings({})).models["m"]

    assert (model().mean_image, model(normalise="imagenet").mean_image) == (True, False)
    assert not model(mean_image=False).mean_image
    again = Model.model_validate(model(normalise="imagenet").model_dump(mode="json"))
    assert (again.normalise, again.mean_image) == ("imagenet", False)


def test_a_chain_of_models_is_a_study(study_path):
    found = read_study(study_path(with_second(weights={"model": "m", "epoch": 2})), read_settings({}))
    assert found.models["n"].weights.model == "m"
    # A smaller form may draw what the full one reads.
    over = read_settings({"overrides": {"mine": {"models": {"n": {"weights": None}}}}})
    assert read_study(study_path(with_second(weights="w.pth")), over).models["n"].weights is None


def test_a_query_must_not_find_itself_unnoticed(study_path):
    with pytest.raises(ConfigError, match="leave_one_out: true"):
        read_study(study_path(lambda s: s["retrievals"][0].pop("leave_one_out")), read_settings({}))


@pytest.mark.parametrize("seeds", [[0, 0], [-1]])
def test_seeds_are_different_and_not_negative(study_path, seeds):
    with pytest.raises(ConfigError, match="seeds"):
        read_study(study_path(lambda s: s.update(seeds=seeds)), read_settings({}))


def test_overrides_from_the_command_line_are_numbers_again():
    settings = read_settings({"overrides": {"mine": {"seeds": ["0", "2"], "models": {"m": {"size": "null"}}}}})
    assert settings.overrides == {"mine": {"seeds": [0, 2], "models": {"m": {"size": None}}}}


def test_names_of_other_folders_are_no_names_of_studies(tmp_path):
    (tmp_path / "sources.yaml").write_text("title: x")
    with pytest.raises(ConfigError, match="results/sources"):
        study_file(str(tmp_path / "sources.yaml"))


def test_leave_one_out_needs_one_dataset(study_path):
    def change(study):
        study["retrievals"][0] |= {"gallery": "a/train", "leave_one_out": True}

    with pytest.raises(ConfigError, match="leave_one_out"):
        read_study(study_path(change), read_settings({}))


def test_two_retrievals_need_two_names(study_path):
    with pytest.raises(ConfigError, match="taken"):
        read_study(study_path(lambda s: s["retrievals"].append(s["retrievals"][0])), read_settings({}))


def test_unknown_study_names_the_nearest():
    with pytest.raises(ConfigError, match="'animals'"):
        study_file("animal")
    with pytest.raises(ConfigError, match=r"nowhere\.yaml"):
        study_file("nowhere.yaml")


@pytest.mark.parametrize("text", ["title: [", "- a list", "\x00"])
def test_no_yaml(tmp_path, text):
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"broken\.yaml"):
        read_study(str(path), read_settings({}))


def test_a_study_whose_aliases_stand_for_billions_of_values_is_refused(tmp_path):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]
    (tmp_path / "laughs.yaml").write_text("\n".join([*lines, "title: *a9"]))
    with pytest.raises(ConfigError, match=r"laughs\.yaml is no YAML .* more than 100,000 values, .*written out"):
        read_study(str(tmp_path / "laughs.yaml"), read_settings({}))


def test_a_study_runs_no_code(tmp_path):
    (tmp_path / "evil.yaml").write_text(f'title: !!python/object/apply:os.mkdir ["{tmp_path / "run"}"]')
    with pytest.raises(ConfigError, match=r"evil\.yaml is no YAML .*python/object/apply:os.mkdir"):
        read_study(str(tmp_path / "evil.yaml"), read_settings({}))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["../mine.yaml", "a/../../etc.yaml"])
def test_results_of_a_study_lie_below_results_wherever_its_file_lies(study_path, tmp_path, monkeypatch, name):
    (tmp_path / "deep" / "a").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "deep")
    Path(name).write_text(Path(study_path()).read_text())
    # Plans call a study by the stem of its file.
    assert study_file(name).stem in {"mine", "etc"}
    for bad in ("..yaml", "../..yaml", "a/.b.yaml", "a/b c.yaml"):
        Path(bad).write_text("title: t")
        with pytest.raises(ConfigError, match="cannot be part of a path"):
            study_file(bad)


def test_quick_and_overrides_lie_over_a_study(study_path):
    path = study_path()
    over = {"mine": {"models": {"m": {"stages": {"c": {"epochs": 5}}}}, "seeds": [0, 1]}}
    study = read_study(path, read_settings({"scale": "quick", "overrides": over}))
    assert study.datasets["a"].split == {"train": 1, "test": 2}
    assert study.models["m"].stages[0].epochs == 5
    assert study.models["m"].stages[0].optimizer.sgd.lr == 0.1
    original = read_study(path, read_settings({"scale": "quick", "overrides": over}), published_size=True)
    assert original.models["m"].stages[0].epochs == 2
    assert differences(study, original) == [
        ("seeds", [0], [0, 1]),
        ("datasets.a.split.train", 2, 1),
        ("models.m.stages.c.epochs", 2, 5),
    ]


def test_overlays_replace_an_optimizer_and_remove_nulls():
    base = {"optimizer": {"sgd": {"lr": 1}}, "a": {"b": 1, "c": 2}, "list": [1, 2]}
    over = {"optimizer": {"adam": {"lr": 2}}, "a": {"b": None}, "list": [3]}
    assert overlaid(base, over) == {"optimizer": {"adam": {"lr": 2}}, "a": {"c": 2}, "list": [3]}
    assert base["a"] == {"b": 1, "c": 2}


def test_objectives_in_another_order_are_the_same_stage(study_path):
    def stage_of(objective):
        path = study_path(set_in(*STAGE, "objective", value=objective))
        return read_study(path, read_settings({})).models["m"].stages[0]

    one = stage_of({"triplet": {"margin": 2}, "cross_entropy": None})
    assert one == stage_of({"cross_entropy": {}, "triplet": {"margin": 2}})
    assert str(one.objective) == "{'cross_entropy': {}, 'triplet': {'margin': 2}}"


@pytest.mark.parametrize("epochs", [1, 7, 20])
def test_schedules_are_torch_s(epochs):
    parameter = torch.nn.Parameter(torch.zeros(1))
    ours = {
        "step": RateSchedule(step={"every": 3, "factor": 0.2}),
        "cosine": RateSchedule(cosine={"end": 0.1}),
    }
    for name, schedule in ours.items():
        optimizer = torch.optim.SGD([parameter], lr=0.5)
        theirs = {
            "step": lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 3, 0.2),
            "cosine": lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs, eta_min=0.05),
        }[name](optimizer)
        for epoch in range(1, epochs + 1):
            assert 0.5 * schedule.share(epoch, epochs) == pytest.approx(theirs.get_last_lr()[0], rel=1e-9)
            optimizer.step()
            theirs.step()


def test_another_schedule_replaces_the_first():
    base = {"schedule": {"step": {"every": 8, "factor": 0.1}}}
    assert overlaid(base, {"schedule": {"step": {"every": 2}}}) == {"schedule": {"step": {"every": 2, "factor": 0.1}}}
    assert overlaid(base, {"schedule": {"cosine": {}}}) == {"schedule": {"cosine": {}}}


def test_reducers_are_named_by_their_options(study_path):
    reducers = ["none", {"pca": {"size": 32}}, {"pca": {"size": 32, "whiten": True}}]
    retrieval = read_study(study_path(set_in("retrievals", 0, "reducers", value=reducers)), read_settings({}))
    found = retrieval.retrievals[0]
    assert found.reduced == {
        "none": ("none", ""),
        "pca-size32": ("pca", "32"),
        "pca-size32-whiten": ("pca-whiten", "32"),
    }
    assert list(found.reduced) == found.reducer_labels
    one = read_study(study_path(set_in("retrievals", 0, "reducers", value={"pca": {"size": 4}})), read_settings({}))
    assert one.retrievals[0].reducer_labels == ["pca-size4"]


def test_lists_of_values_are_a_reducer_each_and_one_batch():
    grid = {"umap": {"size": 16, "n_neighbors": [5, 15], "min_dist": [0.0, 0.5]}}
    written = [
        "none",
        {"pca": {"size": [8, 4], "whiten": True}},
        grid,
        {"umap": {"size": [16, 4], "n_neighbors": 15, "min_dist": 0.5}},
        {"pca": {"size": 2}},
    ]
    searched = {"models": ["m"], "queries": "a/test", "gallery": "a/train"}
    found = Retrieval(**searched, reducers=written)
    assert {batch.label: list(batch.reducers) for batch in found.batches} == {
        "none": ["none"],
        "pca-whiten+size": ["pca-size8-whiten", "pca-size4-whiten"],
        "umap-size16+n_neighbors+min_dist": [
            f"umap-size16-n_neighbors{n}-min_dist{d}" for n in (5, 15) for d in (0.0, 0.5)
        ],
        # What another entry fits already is not fitted again.
        "umap-n_neighbors15-min_dist0.5+size": ["umap-size4-n_neighbors15-min_dist0.5"],
        "pca-size2": ["pca-size2"],
    }
    assert found.single_reducers["umap-size16-n_neighbors5-min_dist0.0"] == {
        "umap": {"size": 16, "n_neighbors": 5, "min_dist": 0.0}
    }
    assert found.reduced["umap-size4-n_neighbors15-min_dist0.5"] == ("umap-n_neighbors15-min_dist0.5", "4")
    assert found.reducer_labels == [label for batch in found.batches for label in batch.reducers]
    assert found.folds == 0
    assert found.parts == ["whole"]
    assert Retrieval(**searched, folds=3).parts == ["fold1", "fold2", "fold3"]


def test_an_overlay_for_a_stage_that_is_not_there():
    with pytest.raises(ConfigError, match="classify"):
        overlaid({"stages": [{"name": "classify"}]}, {"stages": {"clasify": {}}})


@pytest.mark.parametrize("file", sorted((study_file("demo").parent).glob("*.yaml")), ids=lambda f: f.stem)
@pytest.mark.parametrize("scale", ["full", "quick"])
def test_every_study_that_comes_with_trazo_reads(file, scale):
    assert isinstance(read_study(file.stem, read_settings({"scale": scale})), Study)


def test_a_retrieval_can_evaluate_all_checkpoints_and_rank_again_beside_the_plain_ranking(study_path):
    def change(study):
        model = next(iter(study["models"].values()))
        model["stages"][0] |= {"epochs": 5, "checkpoints": [0, 2]}
        study["retrievals"][0] |= {"epochs": "all", "rerank": ["none", "predicted_class"]}

    study = read_study(study_path(change), read_settings({}))
    retrieval, name = study.retrievals[0], next(iter(study.models))
    assert study.epochs_of(retrieval, study.stage_of(name, None)) == [0, 2, 5]
    assert retrieval.ranker_labels == ["exact", "exact+predicted_class"]
