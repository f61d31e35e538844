"""Maps in a study: what is refused before anything runs, which artifacts they need, and whose code they are of."""

import shutil

import numpy as np
import pytest
import yaml
from trazo import planning
from trazo.config import ConfigError, Settings, Study
from trazo.provenance import LIBRARY, code_fingerprint
from trazo.report.departures import named_differences

STAGE = {"name": "tune", "data": "toys/train", "epochs": 4, "checkpoints": [0], "optimizer": {"adam": {}}}
NET = {"architecture": "alexnet", "feature": "fc7", "stages": [STAGE]}
TOYS = {"source": "doodles", "categories": ["cat", "duck", "bee"], "split": {"train": 40, "test": 20}}
BASE = {"title": "t", "datasets": {"toys": TOYS}, "models": {"a": NET, "b": NET}}


def study(**drawn):
    return {**BASE, "maps": {"plane": {"models": ["a", "b"], "data": "toys/test", **drawn}}}


@pytest.fixture
def planned(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    facts = {"features": {"fc7": 64}, "smallest": 8, "module": "trazo.models.alexnet"}
    learned = {"objectives": ["cross_entropy"], "samplings": [], "uses_logits": True, "uses_embeddings": False}

    def answer(requests, written, cache):
        objectives = [{**learned, "smallest_batch": 1}] * len(written)
        return {"networks": [facts] * len(requests), "objectives": objectives, "distances": ["euclidean", "hamming"]}

    monkeypatch.setattr(planning, "ask_torch", answer)
    rng = np.random.default_rng(0)
    np.savez("mine.npz", features=rng.normal(size=(60, 12)), labels=np.arange(60) % 3)
    np.savez("bits.npz", bits=rng.integers(0, 256, (60, 4), dtype=np.uint8), labels=np.arange(60) % 3)

    def make(content):
        (tmp_path / "s.yaml").write_text(yaml.safe_dump(content))
        return planning.make_plans(Settings(studies=["s.yaml"]), tmp_path / "cache")["s"]

    return make


def test_a_map_needs_the_features_of_its_models_though_no_retrieval_does(planned):
    found = planned(study(epochs=[0, 4]) | {"seeds": [0, 1]})
    assert len(found.maps()) == 2 * 2 * 2
    assert "results/s/maps/a/seed1/tune/epoch0/plane.h5" in found.maps()
    artifacts = found.artifacts()
    assert "results/s/features/b/seed0/tune/epoch4/toys/test.h5" in artifacts
    assert "results/s/images/toys/test.h5" in artifacts
    assert set(found.maps()) <= set(artifacts)
    assert found.map_metrics()[0].endswith("/plane.csv")


def test_figures_and_tables_know_maps_and_their_metrics(planned):
    found = planned(
        study()
        | {
            "figures": {"maps": {"title": "Maps", "kind": "embedding_map", "options": {"maps": ["plane"]}}},
            "tables": {"maps": {"title": "t", "metrics": ["trustworthiness@15", "silhouette_map"], "rows": "metric"}},
        }
    )
    assert found.figure_inputs("maps") == {"maps": found.maps()}


def test_imported_features_are_mapped_too(planned):
    content = {"title": "t", "features": {"mine": {"source": "mine.npz"}}, "maps": {"m": {"features": ["mine"]}}}
    found = planned(content)
    assert found.maps() == ["results/s/maps/mine/imported/m.h5"]
    assert next(found.mappings()).features == "results/s/features/mine/imported/gallery.h5"
    # A study that lists no figures gets one of its maps.
    assert found.study.figures["maps"].kind == "embedding_map"


@pytest.mark.parametrize(
    ("drawn", "message"),
    [
        ({"method": "umpa"}, "maps.plane: unknown method of a map 'umpa'. Did you mean 'umap'"),
        ({"options": {"perplexity": 3}}, "maps.plane: umap: unknown option 'perplexity'"),
        ({"options": {"n_neighbors": 60}}, "maps.plane: umap: 60 neighbours need more than 60 items, and there are 60"),
        ({"method": "tsne", "options": {"perplexity": 60}}, "tsne: a perplexity of 60 needs more items than that"),
        ({"neighbours": 30}, "the trustworthiness of 30 neighbours needs more than 60 items, and there are 60"),
        ({"most": 20}, "the trustworthiness of 15 neighbours needs more than 30 items, and there are 20"),
        ({"data": "toys/tset"}, r"maps.plane.data: unknown split 'tset'. Did you mean 'test'"),
        ({"data": "toy/test"}, r"maps.plane.data: unknown dataset 'toy'. Did you mean 'toys'"),
        ({"data": ""}, "a map of models needs `data`"),
        ({"models": ["c"]}, "maps.plane.models: unknown model 'c'"),
        ({"models": ["a", "a"]}, "models names something twice"),
        ({"models": []}, "a map needs `models` with `data`, or `features`"),
        ({"stage": "tuna"}, "maps.plane.stage: unknown stage 'tuna'. Did you mean 'tune'"),
        ({"epochs": [3]}, r"maps.plane.epochs: \[3\] are no checkpoints of a's stage 'tune'"),
        ({"colour": "red"}, "unknown key 'colour'"),
    ],
)
def test_maps_that_cannot_be_drawn_are_refused_before_the_run(planned, drawn, message):
    with pytest.raises(ConfigError, match=message):
        planned(study(**drawn))


@pytest.mark.parametrize(
    ("drawn", "message"),
    [
        ({"features": ["bits"]}, "maps.m.features: bits holds packed bits"),
        ({"features": ["mine"], "data": "queries"}, "maps.m.data: the file of mine holds no queries"),
        ({"features": ["mine"], "data": "toys/test"}, "`data` of imported features is `gallery` or `queries`"),
        ({"features": ["mine"], "epochs": [1]}, "`stage` and `epochs` are for models"),
        ({"features": ["nime"]}, "maps.m.features: unknown features 'nime'. Did you mean 'mine'"),
    ],
)
def test_maps_of_imported_features_that_cannot_be_drawn(planned, drawn, message):
    files = {name: {"source": f"{name}.npz"} for name in ("mine", "bits")}
    with pytest.raises(ConfigError, match=message):
        planned({"title": "t", "features": files, "maps": {"m": drawn}})


def test_one_class_is_refused_before_the_run(planned):
    content = study()
    content["datasets"] = {"toys": {**TOYS, "categories": ["cat"]}}
    with pytest.raises(ConfigError, match=r"maps\.plane\.data: toys/test has one class"):
        planned(content)


@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        (BASE, {}, "an embedding_map shows maps, and the study has none; add `maps:`"),
        (study(), {"maps": ["umap"]}, "maps: unknown map 'umap'. Choices: plane"),
        (study(), {"models": ["c"]}, "models: unknown model 'c'"),
    ],
)
def test_a_figure_of_maps_needs_maps(planned, given, options, message):
    figure = {"title": "Maps", "kind": "embedding_map", "options": options}
    with pytest.raises(ConfigError, match=message):
        planned(given | {"figures": {"maps": figure}})


def test_what_a_map_does_not_depend_on_is_no_setting_of_its_step(planned):
    one, two = (planned(study(models=models)).map_settings("plane") for models in (["a"], ["a", "b"]))
    assert one == two == {"method": "umap", "options": {}, "seed": 0, "most": 2000, "neighbours": 15}


def test_a_map_is_of_its_own_method_s_code_and_no_other_s(planned, tmp_path):
    library = tmp_path / "trazo"
    shutil.copytree(LIBRARY, library, ignore=shutil.ignore_patterns("__pycache__"))
    file = library / "maps" / "methods.py"
    parts = {name: planned(study(method=name)).parts_of_map("plane") for name in ("umap", "tsne")}

    def fingerprints():
        return {n: code_fingerprint("trazo.maps.embedding", parts=p, root=library) for n, p in parts.items()}

    for old, new, changed in (
        ('init="pca"', 'init="random"', {"tsne"}),
        ("Field(0.1, ge=0", "Field(0.2, ge=0", {"umap"}),
    ):
        before, text = fingerprints(), file.read_text(encoding="utf-8")
        assert text.count(old) == 1
        file.write_text(text.replace(old, new), encoding="utf-8")
        assert {name for name, after in fingerprints().items() if after != before[name]} == changed


def test_a_smaller_run_s_other_map_is_told():
    before, now = Study.model_validate(study()), Study.model_validate(study(most=50))
    assert named_differences(now, before) == ["map plane: most 50 instead of 2000"]
    assert named_differences(Study.model_validate(BASE), before) == ["map plane was left out"]
