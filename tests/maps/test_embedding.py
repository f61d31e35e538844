"""The map step: repeatable to the byte, in the order of its features, and clear about what cannot be mapped."""

import csv
import warnings

import numpy as np
import pytest
from trazo import store
from trazo.errors import InputError
from trazo.maps.embedding import drawn_rows, map_features
from trazo.maps.methods import method_of, methods

SETTINGS = {"method": "tsne", "options": {"perplexity": 5, "max_iter": 250}, "seed": 0, "most": 2000, "neighbours": 5}
UMAP = {"method": "umap", "options": {"n_neighbors": 5}}
KEY = {"model": "net", "stage": "tune", "epoch": 3, "seed": 1, "dataset": "scenes", "split": "test"}
CLASSES = ["coast", "forest", "street"]


def blobs(count=45):
    labels = np.repeat(np.arange(3), count // 3)
    centres = 6 * np.eye(3, 12)
    values = centres[labels] + np.random.default_rng(0).normal(size=(len(labels), 12))
    return values.astype(np.float32), labels


@pytest.fixture
def draw(tmp_path):
    """Return a function that maps features and returns the map and its rows of metrics."""
    turn = iter(range(100))

    def make(values=None, labels=None, classes=CLASSES, key=KEY, **settings):
        values, labels = blobs() if values is None else (values, labels)
        folder = tmp_path / str(next(turn))
        ids = [f"item {i}" for i in range(len(values))]
        features = store.Features(values, labels, ids, classes, record={"settings": {"key": key}})
        store.write_features(folder / "features.h5", features)
        map_features(
            features=folder / "features.h5", output=folder / "map.h5", metrics=folder / "map.csv", study="study",
            name="plane", settings=SETTINGS | settings, code="0123",
        )  # fmt: skip
        with (folder / "map.csv").open(newline="") as file:
            return store.read_map(folder / "map.h5"), list(csv.DictReader(file))

    return make


@pytest.mark.parametrize("method", [{}, UMAP])
def test_twice_gives_the_same_bytes_and_another_seed_does_not(draw, method):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        (first, rows), (second, again), (other, _) = draw(**method), draw(**method), draw(**method, seed=1)
    assert first.coordinates.tobytes() == second.coordinates.tobytes()
    assert rows == again
    assert first.coordinates.dtype == np.float32
    assert first.coordinates.shape == (45, 2)
    # t-SNE begins at principal components, which no seed moves; its own seed decides their sign and little else.
    assert method == {} or not np.array_equal(first.coordinates, other.coordinates)


def test_items_stay_in_the_order_of_their_features(draw):
    found, _ = draw(options={"perplexity": 5, "max_iter": 500})
    assert found.labels.tolist() == blobs()[1].tolist()
    assert found.ids == [f"item {i}" for i in range(45)]
    assert found.rows.tolist() == list(range(45))
    assert found.classes == CLASSES
    # Three clusters far apart stay apart: each item's nearest neighbour on the map is of its class.
    far = np.linalg.norm(found.coordinates[:, None] - found.coordinates[None], axis=2)
    np.fill_diagonal(far, np.inf)
    assert (found.labels[far.argmin(axis=1)] == found.labels).all()


def test_metrics_say_what_they_are_of(draw):
    found, rows = draw()
    assert [row["metric"] for row in rows] == ["trustworthiness@5", "silhouette", "silhouette_map"]
    assert [float(row["value"]) for row in rows] == list(found.quality.values())
    for row in rows:
        shown = {name: row[name] for name in ("study", "dataset", "model", "stage", "epoch", "seed", "reducer", "size")}
        assert list(shown.values()) == ["study", "scenes-test", "net", "tune", "3", "1", "plane", "2"]
        assert (row["queries"], row["distance"], row["ranker"], row["ci_low"]) == ("45", "", "", "")
    assert found.record["settings"]["key"] == {**KEY, "map": "plane"}
    assert found.title == "t-SNE"


def test_imported_features_are_of_their_side(draw):
    _, rows = draw(key={"model": "mine", "split": "gallery"})
    assert {(row["dataset"], row["model"], row["stage"]) for row in rows} == {("gallery", "mine", "")}


def test_of_many_items_some_are_drawn_whatever_their_order(draw):
    found, rows = draw(most=30)
    assert len(found) == 30
    assert rows[0]["queries"] == "30"
    assert (np.diff(found.rows) > 0).all()
    assert found.ids == [f"item {row}" for row in found.rows]
    names = [f"item {i}" for i in range(45)]
    assert drawn_rows(names, 30, 0).tolist() == found.rows.tolist()
    backwards = drawn_rows(names[::-1], 30, 0)
    assert {names[::-1][row] for row in backwards} == set(found.ids)
    assert {names[row] for row in drawn_rows(names, 30, 1)} != set(found.ids)


@pytest.mark.parametrize(
    ("values", "labels", "settings", "message"),
    [
        (np.ones((45, 4), np.float32), np.arange(45) % 3, {}, "all 45 features are equal"),
        (np.ones((45, 1), np.float32), np.arange(45) % 3, {}, "features of one value need no map"),
        (np.ones((45, 4), np.uint8), np.arange(45) % 3, {}, "packed bits"),
        (blobs()[0], np.zeros(45, np.int64), {}, "of one class, 'coast'"),
        (*blobs(), {"neighbours": 23}, "neighbours needs more than 46 items, and there are 45"),
        (*blobs(), {"options": {"perplexity": 45}}, "a perplexity of 45 needs more items than that, and there are 45"),
        (*blobs(), {"method": "umap", "options": {"n_neighbors": 45}}, "umap: 45 neighbours need more than 45 items"),
    ],
)
def test_what_cannot_be_mapped_says_why(draw, values, labels, settings, message):
    with pytest.raises(InputError, match=message):
        draw(values, labels, **settings)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("umpa", {}, "unknown method of a map 'umpa'. Did you mean 'umap'"),
        ("umap", {"neighbors": 5}, "umap: unknown option 'neighbors'. Did you mean 'n_neighbors'"),
        ("tsne", {"perplexity": "high"}, "tsne: option 'perplexity': got 'high'"),
        ("tsne", {"perplexity": 0}, "tsne: option 'perplexity': got 0"),
    ],
)
def test_unknown_methods_and_options(name, options, message):
    with pytest.raises(InputError, match=message):
        method_of(name, options, 0)


def test_umap_wants_room_between_items():
    with pytest.raises(InputError, match=r"min_dist 2\.0 is above spread 1\.0"):
        method_of("umap", {"min_dist": 2}, 0).check(100)


def test_the_reference_names_every_option_of_every_method():
    from trazo.config import EmbeddingMap

    words = EmbeddingMap.model_fields["options"].description
    for name in methods.names():
        for option, field in methods.get(name).options_type.model_fields.items():
            default = f"{field.default:g}" if field.default != 1.0 else "1.0"
            assert f"{option} ({default})" in words.partition(f"`{name}`")[2]
