"""Artifacts come back as they were written, are never half there, and say what is wrong with them."""

import csv

import h5py
import numpy as np
import pytest
from trazo.store import (
    METRIC_COLUMNS,
    ArtifactError,
    Codes,
    CodesArtifact,
    Features,
    RankingArtifact,
    atomic_path,
    read_codes,
    read_features,
    read_history,
    read_images,
    read_ranking,
    read_record,
    write_codes,
    write_features,
    write_history,
    write_images,
    write_metrics,
    write_ranking,
)
from trazo.streams import StreamedPixels

RECORD = {"step": "test", "settings": {"size": 8}, "figures": {"seconds": 0.5}}


def some_images(path, count=10, shape=(8, 8)):
    pixels = np.random.default_rng(0).integers(0, 256, (count, *shape), dtype=np.uint8)
    labels = np.arange(count) % 2
    write_images(
        path, [pixels[:4], pixels[4:]], shape=pixels.shape, labels=labels, ids=[f"id {i} ñ\n" for i in range(count)],
        classes=["a b", "<c>"], record=RECORD,
    )  # fmt: skip
    return pixels, labels


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 3)])
def test_images_come_back(tmp_path, shape):
    pixels, labels = some_images(tmp_path / "images.h5", shape=shape)
    images = read_images(tmp_path / "images.h5")
    np.testing.assert_array_equal(images.pixels, pixels)
    np.testing.assert_array_equal(images.labels, labels)
    assert images.ids[3] == "id 3 ñ\n"
    assert images.classes == ["a b", "<c>"]
    assert images.record == read_record(tmp_path / "images.h5") == RECORD


def with_instances(path, instances):
    pixels = np.zeros((3, 8, 8), np.uint8)
    write_images(
        path, [pixels], shape=pixels.shape, labels=np.zeros(3), ids=list("xyz"), classes=["a"], record=RECORD,
        instances=instances,
    )  # fmt: skip


def test_names_of_objects_come_back_whole_and_by_rows(tmp_path):
    with_instances(tmp_path / "i.h5", ["a/1", "a/ñ", "a/1"])
    assert read_images(tmp_path / "i.h5").instances == ["a/1", "a/ñ", "a/1"]
    assert read_images(tmp_path / "i.h5", rows=np.array([1, 2])).instances == ["a/ñ", "a/1"]
    features = Features(np.zeros((2, 3), np.float32), np.zeros(2, int), ["x", "y"], ["a"], instances=["a/1", "a/2"])
    write_features(tmp_path / "f.h5", features)
    assert read_features(tmp_path / "f.h5").instances == ["a/1", "a/2"]


def test_files_without_names_of_objects_are_read(tmp_path):
    some_images(tmp_path / "i.h5")
    assert read_images(tmp_path / "i.h5").instances is None
    write_features(tmp_path / "f.h5", Features(np.zeros((1, 3), np.float32), np.zeros(1, int), ["x"], ["a"]))
    assert read_features(tmp_path / "f.h5").instances is None
    for name in ("i.h5", "f.h5"):
        with h5py.File(tmp_path / name) as file:
            assert "instances" not in file


def test_names_of_too_few_or_too_many_objects_are_refused(tmp_path):
    for instances in (["a/1"] * 2, ["a/1"] * 4, []):
        with pytest.raises(ArtifactError, match=rf"i\.h5: got {len(instances)} instances for 3 labels"):
            with_instances(tmp_path / "i.h5", instances)
    features = Features(np.zeros((2, 3), np.float32), np.zeros(2, int), ["x", "y"], ["a"], instances=["a/1"])
    with pytest.raises(ArtifactError, match="got 1 instances for 2 labels"):
        write_features(tmp_path / "f.h5", features)
    with pytest.raises(ArtifactError, match="got 1 ids for 2 labels"):
        write_features(tmp_path / "f.h5", Features(features.values, features.labels, ["x"], ["a"]))
    assert list(tmp_path.iterdir()) == []
    with_instances(tmp_path / "i.h5", ["a/1"] * 3)
    with h5py.File(tmp_path / "i.h5", "r+") as file:
        del file["instances"]
        file["instances"] = ["a/1"]
    with pytest.raises(ArtifactError, match="is damaged"):
        read_images(tmp_path / "i.h5")


def test_some_rows_of_images(tmp_path):
    pixels, _ = some_images(tmp_path / "images.h5")
    images = read_images(tmp_path / "images.h5", rows=np.array([1, 7]))
    np.testing.assert_array_equal(images.pixels, pixels[[1, 7]])
    assert images.ids == ["id 1 ñ\n", "id 7 ñ\n"]


@pytest.mark.parametrize("blocks", [[3, 4], [5, 6]])
def test_too_few_or_too_many_images_leave_no_file(tmp_path, blocks):
    with pytest.raises(ArtifactError):
        write_images(
            tmp_path / "images.h5", [np.zeros((n, 8, 8), np.uint8) for n in blocks], shape=(10, 8, 8),
            labels=np.zeros(10), ids=["x"] * 10, classes=["a"], record=RECORD,
        )  # fmt: skip
    assert list(tmp_path.iterdir()) == []


def test_of_streamed_images_the_places_come_back(tmp_path):
    pixels = StreamedPixels("photos/here", ["cat/1.jpg", "cat/ñ 2.png"], size=32, channels=3, digest="0f")
    given = {"labels": np.array([0, 1]), "ids": ["one", "two"], "classes": ["a", "b"], "record": RECORD}
    write_images(tmp_path / "images.h5", pixels, shape=pixels.shape, **given)
    images = read_images(tmp_path / "images.h5")
    assert (str(images.pixels.source), images.pixels.digest) == ("photos/here", "0f")
    assert images.pixels.shape == (2, 32, 32, 3)
    assert [name.decode() for name in images.pixels.names] == ["cat/1.jpg", "cat/ñ 2.png"]
    assert (images.ids, images.labels.tolist(), images.record) == (["one", "two"], [0, 1], RECORD)
    with pytest.raises(ArtifactError, match="got 2 images, expected 3"):
        write_images(tmp_path / "other.h5", pixels, shape=(3, 32, 32, 3), **given)
    assert not (tmp_path / "other.h5").exists()


def test_features_and_rankings_come_back(tmp_path):
    rng = np.random.default_rng(1)
    features = Features(
        rng.normal(size=(5, 3)).astype(np.float32), np.array([0, 1, 0, 1, 0]), list("abcde"), ["x", "y"],
        rng.normal(size=(5, 2)).astype(np.float32), ["x", "y"], RECORD,
    )  # fmt: skip
    write_features(tmp_path / "f.h5", features)
    back = read_features(tmp_path / "f.h5")
    np.testing.assert_array_equal(back.values, features.values)
    np.testing.assert_array_equal(back.logits, features.logits)
    assert (back.ids, back.classes, back.logit_classes, back.record) == (list("abcde"), ["x", "y"], ["x", "y"], RECORD)

    ranking = RankingArtifact(
        ["map"], np.array([[0.5], [np.nan]]), np.array([True, False]), np.array([2, 0]), np.array([[1], [0]]),
        np.array([[0.1], [0.2]], np.float32), np.array([0, 1]), np.array([0, 0]), ["q", "r"], ["g", "h"], ["x", "y"],
        RECORD,
    )  # fmt: skip
    write_ranking(tmp_path / "r.h5", ranking)
    again = read_ranking(tmp_path / "r.h5")
    np.testing.assert_array_equal(again.values, ranking.values)
    np.testing.assert_array_equal(again.evaluated, ranking.evaluated)
    assert again.gallery_ids == ["g", "h"]


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path):
    target = tmp_path / "deep" / "file.txt"
    with atomic_path(target) as part:
        part.write_text("old")

    def fail():
        with atomic_path(target) as part:
            part.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert target.read_text() == "old"
    assert [f.name for f in target.parent.iterdir()] == ["file.txt"]


def test_damage_is_named(tmp_path):
    some_images(tmp_path / "images.h5")
    whole = (tmp_path / "images.h5").read_bytes()
    (tmp_path / "cut.h5").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.h5").write_text("hello")
    with h5py.File(tmp_path / "foreign.h5", "w") as file:
        file["x"] = 1
    for name in ("cut.h5", "text.h5", "foreign.h5", "missing.h5"):
        with pytest.raises(ArtifactError, match=name):
            read_images(tmp_path / name)
    with pytest.raises(ArtifactError, match="holds images, expected features"):
        read_features(tmp_path / "images.h5")


def test_metrics_are_tidy_and_finite(tmp_path):
    write_metrics(tmp_path / "m.csv", [{"study": "s", "metric": "map", "class": "a,b", "value": 0.1, "ci_low": 1 / 3}])
    with (tmp_path / "m.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert tuple(row) == METRIC_COLUMNS
    assert (row["class"], float(row["ci_low"]), row["epoch"]) == ("a,b", 1 / 3, "")
    for bad in ({"value": float("nan")}, {"value": 1.0, "colour": "red"}):
        with pytest.raises(ArtifactError):
            write_metrics(tmp_path / "m.csv", [bad])


def test_histories_come_back(tmp_path):
    write_history(tmp_path / "h.json", record=RECORD, epochs=[{"epoch": 1, "loss": 0.5}])
    assert read_history(tmp_path / "h.json") == (RECORD, [{"epoch": 1, "loss": 0.5}])
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(ArtifactError, match=r"bad\.json"):
        read_history(tmp_path / "bad.json")


def some_codes(path):
    """Write codes of 4 of 9 items, for 2 queries, by four reducers that treat queries each in its own way."""
    gallery = np.arange(12, dtype=np.float32).reshape(4, 3)
    bits = np.arange(8, dtype=np.uint8).reshape(4, 2)
    codes = {
        "umap-size3-min_dist0.0": Codes(gallery[:2] + 1, gallery, {"label": "umap-size3-min_dist0.0", "bits": 96}),
        "same": Codes(gallery, gallery, {"label": "same"}),
        "features": Codes(None, gallery, {"label": "features"}),
        "bits": Codes(bits[:2], bits, {"label": "bits"}),
    }
    artifact = CodesArtifact(codes, np.array([1, 2, 5, 8]), ["q ñ", "r"], ["b", "c", "f", "i"], RECORD)
    write_codes(path, artifact)
    return artifact


def test_codes_come_back_in_their_order_and_one_by_one(tmp_path):
    written = some_codes(tmp_path / "c.h5")
    found = read_codes(tmp_path / "c.h5", query_ids=["q ñ", "r"], gallery_ids=list("abcdefghi"))
    assert list(found.codes) == list(written.codes)
    assert (found.query_ids, found.gallery_ids, found.record) == (written.query_ids, written.gallery_ids, RECORD)
    assert found.rows.tolist() == [1, 2, 5, 8]
    for label, codes in written.codes.items():
        np.testing.assert_array_equal(found.codes[label].gallery, codes.gallery)
        assert found.codes[label].gallery.dtype == codes.gallery.dtype
        assert found.codes[label].record == codes.record
    np.testing.assert_array_equal(found.codes["bits"].queries, written.codes["bits"].queries)
    assert found.codes["same"].queries is found.codes["same"].gallery
    assert found.codes["features"].queries is None
    assert list(read_codes(tmp_path / "c.h5", ["bits"]).codes) == ["bits"]
    assert read_record(tmp_path / "c.h5") == RECORD


def test_codes_of_other_items_or_reducers_are_refused(tmp_path):
    some_codes(tmp_path / "c.h5")
    with pytest.raises(ArtifactError, match=r"c\.h5: its codes are of other queries than the features; delete it"):
        read_codes(tmp_path / "c.h5", query_ids=["q", "r"])
    for gallery in ("abcdefgh", "abcdezghi"):
        with pytest.raises(ArtifactError, match=r"c\.h5: its codes are of another gallery than the features"):
            read_codes(tmp_path / "c.h5", gallery_ids=list(gallery))
    with pytest.raises(ArtifactError, match=r"holds codes by umap-size3-min_dist0\.0, same, features, bits, not pca"):
        read_codes(tmp_path / "c.h5", ["same", "pca"])
    with pytest.raises(ArtifactError, match="holds codes, expected features"):
        read_features(tmp_path / "c.h5")
    with h5py.File(tmp_path / "c.h5", "r+") as file:
        del file["codes/same/gallery"]
    with pytest.raises(ArtifactError, match="is damaged"):
        read_codes(tmp_path / "c.h5")
