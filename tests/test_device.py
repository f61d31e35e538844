"""Where the device's memory does not suffice, smaller blocks are tried, and it is said; results stay the same."""

import logging

import numpy as np
import pytest
import torch
from trazo import costs, features, loading
from trazo.device import Blocks, DeviceMemoryError, fits_or_says, is_out_of_memory
from trazo.models.network import StagedNetwork
from trazo.reducers import parametric_umap
from trazo.reducers.contract import reducer_choice
from trazo.retrieval import distances, lists, ranking
from trazo.store import read_history
from trazo.training.learner import Learner
from trazo.training.resume import load_state

from tests.retrieval.test_gallery import made, ranked
from tests.test_features import extract
from tests.test_features import made as made_for_features  # noqa: F401 – a fixture
from tests.training.test_loop import same_weights, settings, train, write_bars

OUT_OF_MEMORY = "CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 1 GiB"


def fails_above(most, function, count):
    """Return `function` on a device whose memory suffices for `most` items; `count(*arguments)` are how many."""

    def limited(*arguments, **options):
        if count(*arguments) > most:
            raise torch.OutOfMemoryError(OUT_OF_MEMORY)
        return function(*arguments, **options)

    return limited


@pytest.fixture
def said(caplog, monkeypatch):
    """What the log says from now on."""
    monkeypatch.setattr(logging.getLogger("trazo"), "propagate", True)
    caplog.set_level(logging.INFO, "trazo")
    return lambda: [record.getMessage() for record in caplog.records if record.name == "trazo"]


def test_blocks_cover_all_items_once_and_stay_small(said):
    blocks = Blocks(100, "adding, items at a time")
    tried = []

    def add(part):
        tried.append(part.stop - part.start)
        if tried[-1] > 30:
            raise torch.OutOfMemoryError(OUT_OF_MEMORY)
        return sum(range(part.start, part.stop))

    found = list(blocks.over(130, add))
    assert [part.start for part, _ in found] == [0, *[part.stop for part, _ in found[:-1]]]
    assert found[-1][0].stop == 130
    assert sum(part for _, part in found) == sum(range(130))
    assert tried == [100, 50, 25, 25, 25, 25, 25, 5]
    assert said() == [
        "adding, items at a time: the device's memory does not suffice for 100, going on with 50",
        "adding, items at a time: the device's memory does not suffice for 50, going on with 25",
    ]


def test_blocks_that_fit_are_left_alone(said):
    assert [part for part, _ in Blocks(4, "x").over(10, lambda part: None)] == [slice(0, 4), slice(4, 8), slice(8, 10)]
    assert list(Blocks(4, "x").over(0, lambda part: 1 / 0)) == []
    assert said() == []


def test_what_does_not_fit_at_all_says_what_to_do():
    blocks = Blocks(9, "adding, items at a time", remedy="add on paper", least=2)
    tried = []

    def fail(part):
        tried.append(part.stop - part.start)
        raise torch.OutOfMemoryError(OUT_OF_MEMORY)

    with pytest.raises(DeviceMemoryError) as caught:
        list(blocks.over(9, fail))
    assert tried == [9, 4, 2]
    assert str(caught.value) == (
        "adding, items at a time: the device's memory does not suffice for 2, the fewest possible (CUDA out of "
        "memory). End other programs that use the device, or add on paper, and run again."
    )


def test_what_a_failed_attempt_held_is_free_before_the_next():
    held = []

    class Tensor:
        def __del__(self):
            held.remove(self.number)

        def __init__(self, number):
            self.number = number
            held.append(number)

    def work(size):
        assert held == []
        kept = Tensor(size)
        if size > 1:
            raise torch.OutOfMemoryError(OUT_OF_MEMORY)
        return kept.number

    assert Blocks(8, "x").fit(work) == 1


def test_other_errors_are_none_of_it():
    for error in (RuntimeError("CUDA error: device-side assert triggered"), ValueError("out of memory")):
        assert not is_out_of_memory(error)

        def fail(part, error=error):
            raise error

        with pytest.raises(type(error), match=str(error)):
            list(Blocks(8, "x").over(9, fail))
        with pytest.raises(type(error), match=str(error)), fits_or_says("Do this."):
            raise error
    for words in ("CUDA error: out of memory", "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"):
        assert is_out_of_memory(RuntimeError(words))
        with pytest.raises(DeviceMemoryError, match="Do this"), fits_or_says("Do this."):
            raise RuntimeError(words)


def test_features_are_the_same_in_smaller_batches(made_for_features, monkeypatch, said):  # noqa: F811
    folder = made_for_features[0]
    whole = extract(folder)
    monkeypatch.setattr(features, "prepare", fails_above(3, features.prepare, len))
    found = extract(folder)
    np.testing.assert_allclose(found.values, whole.values, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.logits, whole.logits, rtol=1e-5, atol=1e-5)
    assert found.ids == whole.ids
    shrunk = [line for line in said() if "does not suffice" in line]
    assert [line.rpartition(" ")[2] for line in shrunk] == ["5", "2"]
    monkeypatch.setattr(features, "prepare", fails_above(0, features.prepare, len))
    with pytest.raises(DeviceMemoryError, match=r"features, images at a time.*use device: cpu"):
        extract(folder)


def test_a_network_that_does_not_fit_says_what_to_do(made_for_features, monkeypatch):  # noqa: F811
    monkeypatch.setattr(StagedNetwork, "to", fails_above(0, None, lambda *_: 1))
    with pytest.raises(DeviceMemoryError, match=r"does not even hold the network: .*device: cpu"):
        extract(made_for_features[0])


@pytest.mark.parametrize("rerank", ["none", "predicted_class"])
def test_rankings_are_the_same_in_smaller_blocks(tmp_path, monkeypatch, said, rerank):
    # Queries of their own: among themselves, all distances are computed at once.
    queries, gallery = made(1), made(2)
    metrics = ["map", "p@3", "ndcg"]
    whole, rows = ranked(tmp_path, queries, gallery, metrics=metrics, rerank=rerank)
    found = ranking._nearest_and_groups
    monkeypatch.setattr(ranking, "_nearest_and_groups", fails_above(9, found, lambda keys, *_: len(keys)))
    smaller, same = ranked(tmp_path, queries, gallery, metrics=metrics, rerank=rerank)
    np.testing.assert_array_equal(smaller.values, whole.values)
    np.testing.assert_array_equal(smaller.top_indices, whole.top_indices)
    np.testing.assert_array_equal(smaller.top_distances, whole.top_distances)
    assert same == rows
    shrunk = [line for line in said() if line.startswith("ranking, queries at a time: ")]
    assert int(shrunk[-1].rpartition(" ")[2]) <= 9
    monkeypatch.setattr(ranking, "_nearest_and_groups", fails_above(0, found, lambda keys, *_: len(keys)))
    with pytest.raises(DeviceMemoryError, match=r"ranking, queries at a time.*fewest possible.*use device: cpu"):
        ranked(tmp_path, queries, gallery, metrics=metrics)


def test_shares_of_exact_lists_are_the_same_in_smaller_blocks(tmp_path, monkeypatch, said):
    queries, gallery = made(1), made(2)
    given = {"ranker": {"faiss_ivf": {"lists": 6, "probes": 1}}, "metrics": ["p@3"]}
    _, rows = ranked(tmp_path, queries, gallery, **given)
    laid_out = lists.laid_out

    class Small:
        def __init__(self, to_gallery):
            self.call = fails_above(9, to_gallery, len)

        def __call__(self, rows):
            return self.call(rows)

    monkeypatch.setattr(lists, "laid_out", lambda *given: Small(laid_out(*given)))
    _, same = ranked(tmp_path, queries, gallery, **given)
    shares = [[row["value"] for row in each if row["metric"] == "recall_of_exact@3"] for each in (rows, same)]
    assert shares[0] == shares[1]
    assert shares[0]
    assert any("comparing with exact lists" in line for line in said())


@pytest.mark.parametrize("name", ["euclidean", "cosine"])
def test_a_gallery_without_room_for_its_copy_is_ranked_without_one(monkeypatch, said, name):
    draw = np.random.default_rng(0)
    # Far from the origin, so that a copy is made.
    rows = (draw.normal(size=(3000, 128)) + 5).astype(np.float32)
    labels = draw.integers(0, 9, 3000)
    asked = {"query_labels": labels[:50], "gallery_labels": labels, "distance": name, "top": 5}
    whole = ranking.rank(rows[:50], rows, **asked)
    prepared = distances.SquaredEuclidean._prepared
    monkeypatch.setattr(
        distances.SquaredEuclidean, "_prepared", fails_above(2000, prepared, lambda _, items, *__: len(items))
    )
    found = ranking.rank(rows[:50], rows, **asked)
    np.testing.assert_allclose(found.values, whole.values, rtol=1e-9)
    np.testing.assert_array_equal(found.top_indices, whole.top_indices)
    assert any("preparing the gallery, bytes of a copy" in line for line in said())


def test_a_gallery_that_does_not_fit_says_how_large_it_is(monkeypatch):
    rows = np.zeros((1 << 14, 128), np.float32)
    monkeypatch.setattr(torch.Tensor, "to", fails_above(0, None, lambda tensor, *_: len(tensor)))
    with pytest.raises(DeviceMemoryError, match=r"16384 items of the gallery take 8 MiB there: .*use device: cpu"):
        ranking.laid_out(distances.Euclidean, rows, "cpu", 1 << 20)


def test_validation_measures_the_same_in_smaller_batches(tmp_path, monkeypatch, said):
    images, held_out = write_bars(tmp_path / "train.h5", 96, 0), write_bars(tmp_path / "test.h5", 100, 1)
    whole = train(tmp_path / "whole", images, settings(2), validation=held_out)
    outputs = Learner.outputs

    def limited(self, pixels, *others):
        # Training itself has batches of 32.
        if not self.network.training and len(pixels) > 40:
            raise torch.OutOfMemoryError(OUT_OF_MEMORY)
        return outputs(self, pixels, *others)

    monkeypatch.setattr(Learner, "outputs", limited)
    smaller = train(tmp_path / "smaller", images, settings(2), validation=held_out)
    assert same_weights(whole, smaller)
    rows, same = (read_history(path.with_name("history.json"))[1] for path in (whole, smaller))
    for name in ("validation_loss", "validation_accuracy"):
        np.testing.assert_allclose([row[name] for row in same], [row[name] for row in rows], rtol=1e-6)
    # Said once, not in every epoch.
    assert sum("validation, images at a time" in line for line in said()) == 2


def test_a_batch_that_does_not_fit_names_its_size_and_keeps_the_epochs_before(tmp_path, monkeypatch):
    images = write_bars(tmp_path / "train.h5", 96, 0)
    whole = train(tmp_path / "whole", images, settings(3))
    outcome = Learner.outcome
    calls = []

    def limited(self, pixels, *others, **options):
        calls.append(len(pixels))
        # In the second epoch of three steps.
        if len(calls) > 4:
            raise torch.OutOfMemoryError(OUT_OF_MEMORY)
        return outcome(self, pixels, *others, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Learner, "outcome", limited)
        with pytest.raises(DeviceMemoryError) as caught:
            train(tmp_path / "cut", images, settings(3))
    for words in ("epoch 2", "stage classify", "batch_size 32", "32×32 pixels", "state after epoch 1 is kept"):
        assert words in str(caught.value)
    resume = tmp_path / "cut" / "checkpoint.pt.resume"
    assert torch.load(resume, weights_only=True)["state"]["epoch"] == 1
    assert load_state(resume, "another") is None
    assert same_weights(whole, train(tmp_path / "cut", images, settings(3)))


def test_a_training_set_too_large_for_the_device_stays_in_the_computer_s_memory(tmp_path, monkeypatch, said):
    images = write_bars(tmp_path / "train.h5", 96, 0)
    whole = train(tmp_path / "whole", images, settings(2))
    to = torch.Tensor.to

    def limited(self, *arguments, **options):
        # Batches are copied without waiting for it.
        if self.dtype == torch.uint8 and len(self) == 96 and arguments == (torch.device("cpu"),) and not options:
            raise torch.OutOfMemoryError(OUT_OF_MEMORY)
        return to(self, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(torch.Tensor, "to", limited)
        source = loading.source_of(np.zeros((96, 4, 4), np.uint8), torch.device("cpu"), resident=True)
        (batch,) = source.batches([torch.tensor([3, 5])])
        assert batch.shape == (2, 4, 4)
        copied = train(tmp_path / "copied", images, settings(2))
    assert same_weights(whole, copied)
    assert sum("they stay in the computer's" in line for line in said()) == 2


def test_costs_are_measured_with_as_many_queries_as_fit(monkeypatch, said):
    draw = np.random.default_rng(0)
    values = draw.normal(size=(300, 8)).astype(np.float32)
    held = costs.Held("none", 256, values, None, 0, 0, 0)
    search = costs.Searcher.__call__
    monkeypatch.setattr(costs.Searcher, "__call__", fails_above(20, search, lambda _, queries: len(queries)))
    taken = costs.time_queries(held, values, "euclidean", torch.device("cpu"))
    assert 0 < taken.batch < 1000
    assert any("costs, queries in a batch" in line and line.endswith("with 16") for line in said())


def test_a_fit_that_needs_too_much_names_its_options(monkeypatch):
    monkeypatch.setattr(parametric_umap, "batch_loss", fails_above(0, None, lambda codes, *_: len(codes)))
    reducer = reducer_choice({"parametric_umap": {"size": 2, "n_neighbors": 8, "epochs": 1}}).make()
    values = np.random.default_rng(0).normal(size=(64, 6)).astype(np.float32)
    with pytest.raises(DeviceMemoryError, match=r"parametric_umap: choose `batch_size` below 1000 .*`device: cpu`"):
        reducer.fit(values)
