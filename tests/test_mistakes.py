"""What planning says of mistakes in a study: one sentence that names the key and the choices, before anything runs.

That Snakemake prints such a sentence and starts nothing is seen in `tests/workflow/test_runs.py`.
"""

import json

import pytest
import yaml
from trazo import planning
from trazo.config import ConfigError, read_settings
from trazo.data.doodles import draw_many
from trazo.data.quickdraw import write_bin
from trazo.probe import answer

from tests.workflow.conftest import STUDY, changed
from tests.workflow.test_runs import LEARNED_BY_TRIPLETS

SKETCHNET = {"architecture": "sknet", "options": {"widths": [0, 8, 8, 8]}}
SKETCHNET_WITHOUT_CHANNELS = {**STUDY, "models": {**STUDY["models"], "one": {**STUDY["models"]["one"], **SKETCHNET}}}
ASKS_FOR_PREDICTIONS = {"retrievals": [{**STUDY["retrievals"][0], "rerank": "predicted_class"}]}


@pytest.fixture(scope="module")
def drawings(tmp_path_factory):
    """Return a folder of drawings of the tiny study's categories."""
    folder = tmp_path_factory.mktemp("drawings")
    for name in STUDY["datasets"]["pets"]["categories"]:
        write_bin(folder / f"{name}.bin", draw_many("cat", 3, seed=1))
    return folder


@pytest.fixture
def planned(drawings, tmp_path, monkeypatch):
    """Return a function that plans a study; what torch is asked is answered in this process, through plain values."""
    monkeypatch.setattr(
        planning,
        "ask_torch",
        lambda requests, written, cache, changes=(): json.loads(json.dumps(answer(requests, written, changes))),
    )

    def make(study):
        file = tmp_path / "mistaken.yaml"
        file.write_text(yaml.safe_dump(study, sort_keys=False))
        values = {"studies": [str(file)], "sources": {"pets": str(drawings)}}
        return planning.make_plans(read_settings(values), tmp_path / "cache")

    return make


def test_the_study_itself_has_none(planned):
    assert planned(STUDY)["mistaken"].rankings()


@pytest.mark.parametrize(
    ("study", "words"),
    [
        (changed(("datasets", "pets", "sise"), 3), ["datasets.pets.sise", "'size'"]),
        (changed(("models", "one", "feature"), "fc7"), ["models.one.feature", "'fc7'", "pool (64 values)"]),
        (changed(("models", "one", "architecture"), "alexnet"), ["datasets.pets.size", "32", "163"]),
        (changed(("models", "one", "architecture"), "resnet43"), ["models.one.architecture", "'resnet34'"]),
        (changed(("models", "one", "options"), {"widht": 8}), ["models.one.options.widht: ", "'width'"]),
        (SKETCHNET_WITHOUT_CHANNELS, ["models.one.options.widths: ", "option widths: got [0, 8, 8, 8]"]),
        (changed(("models", "one", "stages", 0, "objective"), "entropy"), ["objective", "cross_entropy"]),
        (
            changed(("models", "one", "stages", 0, "objective"), {"tripet": {}}),
            ["models.one.stages.classify.objective", "'triplet'"],
        ),
        (
            changed(("models", "one", "stages", 0, "objective"), {"triplet": {"margn": 1}}),
            ["models.one.stages.classify.objective", "'margn'", "'margin'"],
        ),
        (
            changed(("models", "one", "stages", 0, "objective"), {"cross_entropy": {}, "contrastive": {"margin": -1}}),
            ["models.one.stages.classify.objective", "contrastive", "'margin'", "-1"],
        ),
        (
            changed(("models", "one", "stages", 0, "objective"), {"triplet": {"mining": "hard", "per_class": 7}}),
            ["models.one.stages.classify.batch_size", "12", "14"],
        ),
        (
            changed(("models", "one"), LEARNED_BY_TRIPLETS) | {"tables": {}} | ASKS_FOR_PREDICTIONS,
            ["retrievals[0].rerank", "classifier", "one"],
        ),
        (changed(("datasets", "pets", "source"), "quickdrow"), ["datasets.pets.source", "'quickdrow'", "sources"]),
        (changed(("datasets", "pets", "categories"), ["cta"]), ["datasets.pets.categories", "'cat'"]),
        (changed(("datasets", "pets", "categories"), {"random": 9}), ["categories", "9", "3 are available"]),
        (changed(("datasets", "pets", "layout"), "folder"), ["layout", "'folders'"]),
        (changed(("retrievals", 0, "distances"), ["euclidian"]), ["retrievals[0].distances", "'euclidean'"]),
        (changed(("retrievals", 0, "metrics"), ["mpa"]), ["retrievals[0].metrics", "'map'"]),
        (changed(("models", "one", "options"), {"width": "broad"}), ["models.one", "'broad'"]),
        (changed(("models", "one", "options"), {"width": 0}), ["models.one", "resnet18", "cannot be built"]),
        (changed(("retrievals", 0, "metrics"), ["map", "p@18"]), ["retrievals[0].metrics", "p@18", "17"]),
        (changed(("retrievals", 0, "votes"), [18]), ["retrievals[0].votes", "18", "17"]),
        (changed(("retrievals", 0, "leave_one_out"), False), ["retrievals[0]", "leave_one_out: true"]),
        (changed(("seeds",), [0, 0]), ["seeds"]),
        (changed(("tables", "map", "metrics"), ["map", "p@3"]), ["tables.map", "p@3"]),
        (changed(("retrievals", 0, "rankers"), ["faiss_ifv"]), ["retrievals[0].rankers", "'faiss_ivf'"]),
        (changed(("retrievals", 0, "rankers"), [{"faiss_ivf": {"cells": 1}}]), ["rankers", "'cells'", "lists, probes"]),
        (changed(("retrievals", 0, "rankers"), ["faiss_flat"]), ["rankers", "the whole ranking", "p@10"]),
        (changed(("retrievals", 0, "rankers"), ["faiss_binary_flat"]), ["rankers", "euclidean", "hamming"]),
        (changed(("retrievals", 0, "rankers"), ["exact", "exact"]), ["rankers", "exact is listed twice"]),
        (changed(("tables", "map", "where"), {"ranker": "exakt"}), ["tables.map", "'exact'"]),
        (changed(("tables", "map", "where"), {"epoch": 7}), ["tables.map", "epoch '7'", "Choices: 1"]),
        (changed(("published",), {"study": "animols"}), ["published.study", "'animals'"]),
        (changed(("published",), {"study": "animals", "metrics": {"map": "mrr"}}), ["published.metrics.map", "'mrr'"]),
        (changed(("figures", "curve"), {"title": "t", "kind": "epochs", "options": {"metrics": ["mpa"]}}), ["'map'"]),
        (changed(("figures", "curve", "kind"), "recall"), ["figures.curve", "recall_precision"]),
    ],
)
def test_a_mistake_is_one_sentence(planned, study, words):
    with pytest.raises(ConfigError) as told:
        planned(study)
    assert all(word in str(told.value) for word in words), told.value
