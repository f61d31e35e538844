"""Whatever computes does the same on a GPU as on the CPU, within what rounding allows. Needs a GPU."""

import csv
import logging

import numpy as np
import pytest
import torch
from trazo import costs
from trazo.models.checkpoint import load_checkpoint
from trazo.reducers.contract import reducer_choice
from trazo.retrieval.distances import distances, pairwise
from trazo.retrieval.gallery import rank_gallery
from trazo.retrieval.ranking import rank
from trazo.store import read_history, read_ranking, write_features
from trazo.training.augment import augmentations, augmenter
from trazo.training.resume import save_state

from tests.retrieval.test_distances import clustered
from tests.retrieval.test_gallery import SETTINGS
from tests.retrieval.test_gallery import made as some_features
from tests.test_features import extract, made  # noqa: F401 – a fixture
from tests.training.test_loop import same_weights, settings, train, write_bars

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
GPU = "cuda"


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    return write_bars(folder / "train.h5", 193, 0), write_bars(folder / "test.h5", 60, 1)


def trained(folder, images, model, device, **changes):
    """Train; return the checkpoint and the history."""
    path = train(folder / device, images[0], model, validation=images[1], device=device, **changes)
    return load_checkpoint(path), read_history(path.with_name("history.json"))[1]


@pytest.mark.parametrize(
    "objective",
    ["cross_entropy", {"contrastive": {}}, {"triplet": {"mining": "semi_hard", "per_class": 8}}],
    ids=["cross_entropy", "contrastive", "triplet"],
)
def test_a_training_step_changes_the_weights_alike(tmp_path, images, objective):
    stage = {"iterations": 1, "precision": "float32", "objective": objective, "checkpoints": [0]}
    model = settings(1, stage=stage)
    (here, told), (there, said) = (trained(tmp_path, images, model, device) for device in ("cpu", GPU))
    assert all(torch.equal(here.weights[0][k], there.weights[0][k]) for k in here.weights[0])
    for name, before in here.weights[0].items():
        if before.is_floating_point():
            steps = [each.weights[1][name] - before for each in (here, there)]
            # Gradients are sums of many terms of both signs: what is lost is a share of the largest of a layer.
            torch.testing.assert_close(steps[1], steps[0], rtol=1e-2, atol=1e-3 * float(steps[0].abs().max()) + 1e-7)
    assert said[-1]["loss"] == pytest.approx(told[-1]["loss"], rel=1e-4)
    assert said[-1]["validation_loss"] == pytest.approx(told[-1]["validation_loss"], rel=1e-2)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_training_learns_as_on_the_cpu(tmp_path, images, precision):
    model = settings(4, stage={"precision": precision})
    (_, told), (_, said) = (trained(tmp_path, images, model, device) for device in ("cpu", GPU))
    assert said[-1]["validation_accuracy"] > 0.85
    assert said[-1]["loss"] == pytest.approx(told[-1]["loss"], abs=0.15)


def test_a_training_goes_on_where_it_was_interrupted(tmp_path, images, monkeypatch):
    # Without pooling by maxima in the network, its steps are repeatable on a GPU too.
    model = settings(3, stage={"precision": "float32"})

    class Stop(Exception):
        pass

    def stop_after_first(*arguments):
        save_state(*arguments)
        raise Stop

    whole = train(tmp_path / "whole", images[0], model, device=GPU)
    again = train(tmp_path / "again", images[0], model, device=GPU)
    with monkeypatch.context() as patch:
        patch.setattr("trazo.training.loop.save_state", stop_after_first)
        with pytest.raises(Stop):
            train(tmp_path / "cut", images[0], model, device=GPU)
    cut = train(tmp_path / "cut", images[0], model, device=GPU)
    if same_weights(whole, again):
        assert same_weights(whole, cut)
    one, two = (load_checkpoint(path).weights[3] for path in (whole, cut))
    for name, value in one.items():
        torch.testing.assert_close(two[name].double(), value.double(), rtol=1e-2, atol=1e-3)


def test_renewed_statistics_are_those_of_the_cpu(tmp_path, images):
    model = settings(1, stage={"iterations": 1, "precision": "float32", "renew_statistics": 1})
    (here, _), (there, _) = (trained(tmp_path, images, model, device) for device in ("cpu", GPU))
    averages = [name for name in here.weights[1] if name.endswith(("running_mean", "running_var"))]
    assert averages
    for name in averages:
        expected = here.weights[1][name]
        torch.testing.assert_close(
            there.weights[1][name], expected, rtol=1e-2, atol=1e-3 * float(expected.abs().max()) + 1e-7
        )


def test_features_are_those_of_the_cpu(made):  # noqa: F811
    here, there = (extract(made[0], device=device) for device in ("cpu", GPU))
    np.testing.assert_allclose(there.values, here.values, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(there.logits, here.logits, rtol=1e-3, atol=1e-3)
    assert there.record["figures"]["peak_gpu_memory_mib"] > 0


@pytest.mark.parametrize("name", sorted(set(distances.names()) - {"hamming"}))
@pytest.mark.parametrize("offset", [0.0, 30.0])
def test_distances_are_those_of_the_cpu(name, offset):
    rows = torch.from_numpy(clustered(1, 300, 96, offset, 0.01))
    here, there = (pairwise(name, rows[:50].to(device), rows.to(device)).cpu() for device in ("cpu", GPU))
    torch.testing.assert_close(there, here, rtol=2e-5, atol=2e-5 * float(here.abs().max()))
    if name in ("euclidean", "squared_euclidean", "cosine"):
        # Close ones are not lost to cancellation, equal ones are at 0.
        assert (there[torch.arange(50), torch.arange(50)] == 0).all()
        close = here < 0.05 * here.max()
        torch.testing.assert_close(there[close], here[close], rtol=1e-4, atol=1e-12)


@pytest.mark.parametrize("bits", [8, 64, 2048, 5000 // 8 * 8])
def test_hamming_distances_are_exact(bits):
    packed = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (400, bits // 8), dtype=np.uint8))
    packed[1] = ~packed[0]
    here, there = (pairwise("hamming", packed[:70].to(device), packed.to(device)).cpu() for device in ("cpu", GPU))
    assert torch.equal(there, here)
    assert here[0, 1] == bits


@pytest.mark.parametrize("rerank", ["none", "predicted_class"])
@pytest.mark.parametrize("ranker", ["exact", {"faiss_flat": {}}], ids=["exact", "faiss"])
def test_rankings_are_those_of_the_cpu(tmp_path, rerank, ranker):
    if ranker != "exact" and rerank != "none":
        pytest.skip("only the exact ranker ranks again")
    write_features(tmp_path / "q.h5", some_features(size=300))
    found = {}
    for device in ("cpu", GPU):
        (tmp_path / device).mkdir()
        rank_gallery(
            queries=tmp_path / "q.h5", gallery=tmp_path / "q.h5", ranking=tmp_path / device / "r.h5",
            metrics=tmp_path / device / "r.csv", study="s", retrieval="r", distance="euclidean",
            settings={**SETTINGS, "metrics": ["p@5"], "rerank": rerank}, code="c", ranker=ranker, device=device,
        )  # fmt: skip
        with (tmp_path / device / "r.csv").open(newline="") as file:
            values = {(r["metric"], r["class"], r["average"]): float(r["value"]) for r in csv.DictReader(file)}
        found[device] = read_ranking(tmp_path / device / "r.h5"), values
    # Items that are all but equally far may change places.
    same = found["cpu"][0].top_indices == found[GPU][0].top_indices
    assert same.mean() > 0.99
    np.testing.assert_allclose(found[GPU][0].top_distances, found["cpu"][0].top_distances, rtol=1e-4)
    assert found[GPU][1] == pytest.approx(found["cpu"][1], abs=1e-3)


# With what a generator on the CPU draws: those of a GPU draw other numbers.
DRAWS = ("rand", "randint", "randn")


@pytest.mark.parametrize("name", augmentations.names())
def test_augmentations_are_those_of_the_cpu(name, monkeypatch):
    written = {name: AUGMENTED[name]}
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (16, 24, 24), dtype=np.uint8))
    generator = torch.Generator()

    def on_the_cpu(draw):
        return lambda *size, device=None, generator=None, **options: draw(*size, generator=drawn_by, **options).to(
            device
        )

    drawn_by = generator
    for draw in DRAWS:
        monkeypatch.setattr(torch, draw, on_the_cpu(getattr(torch, draw)))
    found = []
    for device in ("cpu", GPU):
        generator.manual_seed(5)
        found.append(augmenter(written).change(pixels.to(device), None, torch.Generator(device)).float().cpu())
    assert not torch.equal(found[0], pixels.float())
    torch.testing.assert_close(found[1], found[0], rtol=0, atol=0.05)


# Of every augmentation, a strength that is sure to change something.
AUGMENTED = {"flip": 1, "rotate": 20, "crop": 0.7, "thickness": 2, "erase": {"side": 0.4, "probability": 1}}


def test_every_augmentation_is_compared():
    assert set(AUGMENTED) == set(augmentations.names())


def test_augmentations_of_a_gpu_repeat():
    pixels = torch.full((8, 32, 32), 255, dtype=torch.uint8, device=GPU)
    pixels[:, 10:20, 14] = 0
    change = augmenter({"flip": 0.5, "rotate": 20}).change
    first, second = (change(pixels, None, torch.Generator(GPU).manual_seed(3)) for _ in range(2))
    assert torch.equal(first, second)


def test_parametric_umap_learns_as_on_the_cpu():
    draw = np.random.default_rng(0)
    values = (draw.normal(size=(200, 10)) + 4 * draw.integers(0, 2, (200, 1))).astype(np.float32)
    given = {"size": 2, "epochs": 1, "n_neighbors": 10}
    here, there = (
        reducer_choice({"parametric_umap": {**given, "device": device}}).make().fit(values) for device in ("cpu", GPU)
    )
    assert there.facts()["loss"] == pytest.approx(here.facts()["loss"], rel=1e-2)
    np.testing.assert_allclose(there.transform(values), here.transform(values), rtol=0.05, atol=0.05)


def test_costs_are_measured_and_items_ordered_alike():
    values = np.random.default_rng(0).normal(size=(500, 16)).astype(np.float32)
    held = costs.Held("none", 512, values, None, 0, 0, 0)
    taken = costs.time_queries(held, values, "euclidean", torch.device(GPU))
    assert (taken.total > 0).all()
    here, there = (costs.Searcher(held, "euclidean", torch.device(device)) for device in ("cpu", GPU))
    for count in (1, 20):
        orders = [search.sorted(search.keys(values[:count])) for search in (here, there)]
        assert (orders[0] == orders[1]).mean() > 0.99


def test_memory_that_does_not_suffice_leads_to_smaller_blocks(caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("trazo"), "propagate", True)
    draw = np.random.default_rng(0)
    rows, labels = draw.normal(size=(20_000, 32)).astype(np.float32), draw.integers(0, 50, 20_000)
    asked = {"query_labels": labels[:3000], "gallery_labels": labels, "metrics": ("map", "p@10"), "top": 3}
    whole = rank(rows[:3000], rows, device=GPU, memory_mib=512, **asked)
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + (600 << 20)) / total)
    try:
        # As if there were room for blocks of some gigabytes.
        found = rank(rows[:3000], rows, device=GPU, memory_mib=16_000, **asked)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    told = "ranking, queries at a time: the device's memory does not suffice"
    assert any(told in record.getMessage() for record in caplog.records)
    np.testing.assert_allclose(found.values, whole.values, atol=1e-4)
    assert (found.top_indices == whole.top_indices).mean() > 0.999
