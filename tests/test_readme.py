"""What the README says is so: its reference is the typed configuration's, its examples run, its files exist."""

import re
from pathlib import Path

import yaml
from trazo.config import Dataset, EmbeddingMap, Published, Retrieval, Study, read_settings
from trazo.data.layouts import layouts
from trazo.maps.methods import method_of, methods
from trazo.models.heads import heads
from trazo.plan import reducer_labels
from trazo.reducers.contract import load_reducers, reducers
from trazo.reference import updated
from trazo.report.drawing import parse_options
from trazo.report.figures import figure_kinds
from trazo.retrieval.metrics import FAMILIES, metrics
from trazo.retrieval.rankers import rankers

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, flags=re.MULTILINE | re.DOTALL)


def test_the_reference_is_up_to_date():
    assert updated(TEXT) == TEXT, "run: PYTHONPATH=workflow python -m trazo.reference README.md"


def test_every_yaml_example_is_a_valid_configuration():
    examples = [yaml.safe_load(block) for block in blocks("yaml")]
    sources, figures, reduced, coded, maps, study, published, shortest, features, pair = examples
    assert read_settings(sources).sources
    for figure in [*figures["figures"].values(), *coded["figures"].values()]:
        parse_options(figure_kinds.get(figure["kind"]), figure["options"], figure["title"])
    short = Retrieval.model_validate(reduced["retrievals"][0])
    assert len(reducer_labels(short)) == len(short.reducer_labels) == 1 + 3 + 4 + 3
    for drawn in maps["maps"].values():
        checked = EmbeddingMap.model_validate(drawn)
        method_of(checked.method, checked.options, checked.seed)
    assert Published.model_validate(published["published"]).models[0].model == "sknet-b-20000"
    assert Study.model_validate(study).retrievals[0].label == "photos-test-in-photos-train"
    assert [Dataset.model_validate(given).domain for given in pair["datasets"].values()] == ["sketch", "photo"]
    assert Study.model_validate(shortest).methods == Study.model_validate(features).methods == ["mine"]


def test_the_example_network_builds_when_it_is_put_where_the_readme_says(tmp_path, monkeypatch):
    import torch
    import trazo.models
    from trazo.models.factory import build, describe
    from trazo.models.network import architectures

    code = next(block for block in blocks("python") if "architectures.register" in block)
    (tmp_path / "mynet.py").write_text(code)
    monkeypatch.setattr(trazo.models, "__path__", [*trazo.models.__path__, str(tmp_path)])
    try:
        assert describe("mynet", channels=3, size=64)["features"]["pool"] == 32
        network = build("mynet", classes=7, channels=3, size=64, options={"width": 8})
        assert network(torch.zeros(2, 3, 64, 64)).shape == (2, 7)
    finally:
        architectures._parts.pop("mynet", None)


def test_every_metric_is_explained():
    for name in [*metrics.names(), *FAMILIES]:
        assert re.search(rf"`{re.escape(name)}(@\w)?`", TEXT), f"the README does not explain {name}"


def test_every_kind_of_figure_is_explained():
    rows = [line.split("|")[1] for line in TEXT.splitlines() if line.startswith("| `")]
    for name in figure_kinds.names():
        assert any(f"`{name}`" in row for row in rows), f"the README does not explain {name}"


def test_every_ranker_is_explained_with_its_options():
    for name in rankers.names():
        (row,) = (line for line in TEXT.splitlines() if line.startswith("| `") and f"`{name}`" in line.split("|")[1])
        for option, field in rankers.get(name).options_type.model_fields.items():
            assert f"`{option}` ({field.default})" in row


def test_every_objective_is_explained_with_its_options():
    from trazo.training.objectives import load_objectives, objectives

    load_objectives()
    for name in objectives.names():
        kind = objectives.get(name)
        written = f"{name}:<{kind.after_colon.capitalize()}>" if kind.after_colon else name
        (row,) = (line for line in TEXT.splitlines() if line.startswith(f"| `{written}` |"))
        for option, field in kind.model_fields.items():
            assert option == kind.after_colon or f"`{option}` ({field.default})" in row


def test_every_head_is_explained_with_its_options():
    (told,) = re.findall(r"\*\*Short codes that a network learns\*\*.*?\n\n", TEXT, flags=re.DOTALL)
    for name in heads.names():
        assert re.search(rf"`\{{?{name}\b", told)
        assert all(re.search(rf"\b{option}\b", told) for option in heads.get(name).model_fields)


def test_every_reducer_and_method_of_a_map_is_explained_with_its_options():
    load_reducers()
    for name in reducers.names():
        (row,) = (line for line in TEXT.splitlines() if line.startswith(f"| `{name}` |"))
        assert all(f"`{option}`" in row for option in reducers.get(name).options_type.model_fields)
    for name in methods.names():
        (sentence,) = re.findall(rf"`{name}`\s\([^)]+\)", TEXT)
        assert all(f"`{option}`" in sentence for option in methods.get(name).options_type.model_fields)


def test_every_layout_is_explained():
    for name in layouts.names():
        assert any(line.startswith(f"| `{name}` |") for line in TEXT.splitlines()), name


def test_links_lead_somewhere():
    for link in re.findall(r"\]\(([^)#]+)\)", TEXT):
        if not link.startswith("http"):
            assert (ROOT / link).exists(), link
