"""Artifacts come back as they were written, are never half there, and say what is wrong with them."""

import csv
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from trazo.store import (
    METRIC_COLUMNS,
    ArtifactError,
    Codes,
    CodesArtifact,
    Features,
    FittedReducer,
    MapArtifact,
    RankingArtifact,
    atomic_file,
    atomic_path,
    need_writable,
    read_codes,
    read_features,
    read_fitted,
    read_history,
    read_images,
    read_map,
    read_ranking,
    read_record,
    write_codes,
    write_features,
    write_fitted,
    write_history,
    write_images,
    write_map,
    write_metrics,
    write_ranking,
    write_text,
)
from trazo.streams import StreamedPixels

WORKFLOW = Path(__file__).resolve().parents[1] / "workflow"
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


def some_values():
    return np.random.default_rng(3).normal(size=(60, 8)).astype(np.float32)


def some_features(path):
    write_features(path, Features(some_values(), np.zeros(60, int), [f"i{i}" for i in range(60)], ["a"], record=RECORD))


def some_ranking(path):
    nearest = np.zeros((3, 2), int)
    write_ranking(
        path,
        RankingArtifact(
            ["map"], np.ones((3, 1)), np.ones(3, bool), np.ones(3, int), nearest, nearest.astype(np.float32),
            np.zeros(3, int), np.zeros(3, int), list("abc"), list("abc"), ["x"], RECORD,
        ),
    )  # fmt: skip


def some_map(path):
    items = np.arange(60)
    write_map(path, MapArtifact(some_values()[:, :2], items, items * 0, ["i"] * 60, ["x"], {"q": 0.5}, "UMAP", RECORD))


def some_fitted(path):
    write_fitted(path, FittedReducer("pca", {"size": 2}, {"mean": some_values()}, RECORD))


ARTIFACTS = {
    "images": (some_images, read_images),
    "features": (some_features, read_features),
    "codes": (lambda path: some_codes(path), read_codes),
    "ranking": (some_ranking, read_ranking),
    "map": (some_map, read_map),
    "reducer": (some_fitted, read_fitted),
}


@pytest.mark.parametrize("kind", ARTIFACTS)
def test_a_flipped_byte_or_a_lost_end_is_found_wherever_it_is(tmp_path, kind):
    write, read = ARTIFACTS[kind]
    write(tmp_path / "a.h5")
    read(tmp_path / "a.h5")
    whole = (tmp_path / "a.h5").read_bytes()
    draw = np.random.default_rng(0)
    # The checksum and what lies beside it, and places all over the file.
    places = {*range(0, 600, 7), *draw.integers(0, len(whole), 60).tolist(), len(whole) - 1}
    damaged = [whole[:at] + bytes([whole[at] ^ 1 << draw.integers(8)]) + whole[at + 1 :] for at in sorted(places)]
    for content in (*damaged, b"", whole[:100], whole[:512], whole[: len(whole) // 2], whole[:-1], whole + b"x"):
        (tmp_path / "b.h5").write_bytes(content)
        with pytest.raises(ArtifactError, match=r"b\.h5 .*[Dd]elete it and run again"):
            read(tmp_path / "b.h5")


def test_a_record_that_was_hit_is_not_taken_for_one(tmp_path):
    some_features(tmp_path / "a.h5")
    whole = (tmp_path / "a.h5").read_bytes()
    at = whole.index(b'"size": 8')
    (tmp_path / "b.h5").write_bytes(whole[: at + 8] + b"9" + whole[at + 9 :])
    with pytest.raises(ArtifactError, match=r"b\.h5 carries no record .*not the one that was written"):
        read_record(tmp_path / "b.h5")


def test_files_without_a_checksum_are_read(tmp_path):
    """Those of earlier versions, and those that others make."""
    some_features(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5") as old, h5py.File(tmp_path / "b.h5", "w") as new:
        for name in old:
            old.copy(name, new)
        new.attrs.update({name: value for name, value in old.attrs.items() if name != "record_crc32"})
    np.testing.assert_array_equal(read_features(tmp_path / "b.h5").values, some_values())
    assert read_record(tmp_path / "b.h5") == RECORD


def test_other_readers_of_hdf5_pass_over_the_checksum(tmp_path):
    some_features(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5") as file:
        np.testing.assert_array_equal(file["values"][:], some_values())


# As a disk that is full after so many bytes, for a process of its own: HDF5 ends the process that it is not kept from.
LIMITED = """
    import resource, sys
    sys.path[:0] = [sys.argv[1], sys.argv[2]]
    from tests import test_store
    from trazo.store import UnwritableError
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[4]), resource.RLIM_INFINITY))
    try:
        test_store.WRITERS[sys.argv[3]]("out/file")
    except UnwritableError as error:
        print(error)
"""


def many_images(path):
    draw = np.random.default_rng(0)
    blocks = (draw.integers(0, 256, (100, 32, 32), dtype=np.uint8) for _ in range(50))
    write_images(
        path, blocks, shape=(5000, 32, 32), labels=np.zeros(5000), ids=[f"i{i}" for i in range(5000)], classes=["a"],
        record=RECORD,
    )  # fmt: skip


def large_features(path):
    values = np.zeros((20000, 64), np.float32)
    ids = [f"item {i}" for i in range(20000)]
    write_features(path, Features(values, np.zeros(20000, int), ids, ["a"], values, ["x"] * 64, RECORD, ids))


def tensors(path):
    import torch

    with atomic_file(path) as file:
        torch.save([torch.randn(500, 100) for _ in range(20)], file)


WRITERS = {
    "images": many_images,
    "features": large_features,
    "tensors": tensors,
    "text": lambda path: write_text(path, "x" * 5_000_000),
}


@pytest.mark.parametrize(
    ("writer", "room"),
    [*((writer, 1_500_000) for writer in WRITERS), ("images", 0), ("images", 2000), ("features", 2000), ("text", 0)],
)
def test_a_disk_that_is_full_is_told_in_a_sentence_and_nothing_stays(tmp_path, writer, room):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(LIMITED), str(WORKFLOW), str(WORKFLOW.parent), writer, str(room)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "out/file cannot be written" in done.stdout
    assert "Make room there" in done.stdout
    assert not list((tmp_path / "out").iterdir())


# Writes half of a file, says so, and waits to be killed.
HALF = """
    import sys, time
    from pathlib import Path
    sys.path.insert(0, sys.argv[1])
    from trazo.store import atomic_path
    with atomic_path("file.txt") as part:
        part.write_text("half")
        Path("half").touch()
        time.sleep(60)
"""


def test_what_a_killed_process_left_goes_with_the_next_write(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(HALF), str(WORKFLOW)], cwd=tmp_path)
    limit = time.monotonic() + 60
    while not (tmp_path / "half").exists():
        assert time.monotonic() < limit
        time.sleep(0.01)
    (left,) = tmp_path.glob(".file.txt.*.part")
    write_text(tmp_path / "file.txt", "of another process")
    # Its process still runs.
    assert left.exists()
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (tmp_path / "file.txt").read_text() == "of another process"
    elsewhere = tmp_path / ".file.txt.0123abcd-17.x.part"
    others = tmp_path / ".file.txt.old.0123abcd-17.x.part"
    elsewhere.touch()
    others.touch()
    write_text(tmp_path / "file.txt", "new")
    assert not left.exists()
    assert elsewhere.exists()
    os.utime(elsewhere, (time.time() - 2 * 24 * 3600,) * 2)
    write_text(tmp_path / "file.txt", "newer")
    assert not elsewhere.exists()
    assert others.exists()


# As a user who is not root, whom permissions do not bind.
FORBIDDEN = """
    import os, sys
    sys.path.insert(0, sys.argv[1])
    from trazo.store import UnwritableError, need_writable, write_text
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    actions = (lambda: write_text("mine.csv", "x"), lambda: write_text("deep/mine.csv", "x"))
    for action in (*actions, lambda: need_writable("results")):
        try:
            action()
        except UnwritableError as error:
            print(error)
"""


def test_a_folder_that_is_somebody_else_s_is_told_in_a_sentence(tmp_path):
    folder = tmp_path / "closed"
    folder.mkdir()
    folder.chmod(0o555)
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(FORBIDDEN), str(WORKFLOW)], cwd=folder, capture_output=True, text=True
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 3, done.stderr[-2000:]
    for line, name in zip(lines, ("mine.csv", "deep/mine.csv", "results"), strict=True):
        assert line.startswith(f"{name} cannot be written: . is not this user's to change (Permission denied). ")
        assert "or run in a folder of your own" in line
    assert not list(folder.iterdir())


def test_what_the_block_could_not_read_is_not_taken_for_a_file_that_cannot_be_written(tmp_path):
    for error in (PermissionError(13, "Permission denied", "s.bin"), FileNotFoundError(2, "No such file", "s.bin")):
        with pytest.raises(type(error), match=r"s\.bin"), atomic_path(tmp_path / "file.txt"):
            raise error
    assert not list(tmp_path.iterdir())


def test_a_folder_that_can_be_written_to_stays_as_it_is(tmp_path):
    need_writable(tmp_path)
    need_writable(tmp_path / "not" / "yet")
    assert not list(tmp_path.iterdir())


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
