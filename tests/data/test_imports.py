"""Features made elsewhere: what a file may hold, and the one sentence that each mistake ends in."""

import io
import pickle
import re
import zipfile

import h5py
import numpy as np
import pytest
from trazo.data.imports import FeatureFile, import_features, look
from trazo.errors import InputError
from trazo.store import read_features

RNG = np.random.default_rng(0)
VALUES = RNG.normal(size=(6, 4))
LABELS = np.array([0, 0, 1, 1, 2, 2])
GOOD = {"features": VALUES, "labels": LABELS}


def write(path, arrays):
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    else:
        with h5py.File(path, "w") as file:
            for name, array in arrays.items():
                array = np.asarray(array)
                file[name] = array.astype(h5py.string_dtype()) if array.dtype.kind == "U" else array
    return path


def imported(source, side="gallery", queries=None):
    output = source.with_name(f"{source.name}.{side}.features.h5")
    import_features(source=source, queries=queries, side=side, output=output, code="c", key={"model": "mine"})
    return read_features(output)


@pytest.mark.parametrize("end", [".npz", ".h5"])
class TestBothFormats:
    def test_numbers_and_text_labels(self, tmp_path, end):
        names = np.array(["owl", "owl", "ñandú", "ñandú", "cat", "cat"])
        path = write(
            tmp_path / f"a{end}", {"features": VALUES, "labels": names, "ids": [f"item {i}" for i in range(6)]}
        )
        assert look(path) == FeatureFile(packed=False, width=4, items=6, queries=0)
        found = imported(path)
        np.testing.assert_array_equal(found.values, VALUES.astype(np.float32))
        assert [found.classes[i] for i in found.labels] == names.tolist()
        assert found.ids[5] == "item 5"
        assert found.record["settings"]["key"] == {"model": "mine"}

    def test_bits_with_queries_apart_and_class_names(self, tmp_path, end):
        bits = RNG.integers(0, 256, (6, 3), dtype=np.uint8)
        arrays = {
            "bits": bits,
            "labels": LABELS,
            "query_bits": bits[:2],
            "query_labels": LABELS[2:4],
            "classes": list("xyz"),
        }
        path = write(tmp_path / f"b{end}", arrays)
        assert look(path) == FeatureFile(packed=True, width=3, items=6, queries=2)
        found = imported(path, "queries")
        np.testing.assert_array_equal(found.values, bits[:2])
        assert found.values.dtype == np.uint8
        assert [found.classes[i] for i in found.labels] == ["y", "y"]
        assert found.ids == ["0", "1"]

    def test_numbers_as_labels_name_their_classes(self, tmp_path, end):
        found = imported(write(tmp_path / f"c{end}", {"features": VALUES, "labels": LABELS * 50 - 7}))
        assert found.classes == ["-7", "43", "93"]

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"features": None}, r"expected exactly one of the keys 'features' or 'bits'; the file holds labels"),
            ({"bits": np.zeros((6, 1), np.uint8)}, "exactly one of the keys"),
            ({"labels": None}, r"the key 'labels' is missing; the file holds features \(float64 of shape \(6, 4\)\)"),
            ({"labels": LABELS[:5]}, r"'labels' is int64 of shape \(5,\); expected one for each of 6 items"),
            ({"labels": LABELS * 0.5}, "'labels' is float64 .*expected whole numbers or text"),
            ({"labels": np.array(list("ab") + [""] * 4)}, "'labels' is empty in row 2"),
            ({"ids": ["a"]}, "'ids' is text of shape"),
            ({"features": VALUES[0]}, "expected a table of one row per item"),
            ({"features": np.zeros((0, 4)), "labels": LABELS[:0]}, r"shape \(0, 4\); there is no item"),
            ({"features": VALUES.astype(complex)}, "complex128 .*expected real numbers"),
            ({"features": np.where(np.eye(6, 4, -2) == 1, np.nan, VALUES)}, r"in 4 of 6 rows .*: 2, 3, 4, 5;"),
            ({"features": np.where(np.arange(6)[:, None] == 4, 1e300, VALUES)}, "beyond float32 in 1 of 6.*: 4;"),
            ({"features": None, "bits": VALUES}, "pack bits with numpy.packbits"),
            ({"classes": ["a", "b"]}, "'labels' is 2 in row 4; 2 `classes`"),
            ({"classes": ["a", "a", "b"]}, "an empty or a repeated name"),
            ({"classes": [1, 2, 3]}, "expected a list of names"),
            ({"labels": np.array(list("aabbcc")), "classes": ["a", "b"]}, "'c' for some items; `classes` are a, b"),
            ({"query_features": VALUES[:, :3], "query_labels": LABELS}, "a query has 3 values and an item .* 4 values"),
            ({"query_features": VALUES}, "the key 'query_labels' is missing"),
            ({"query_labels": LABELS}, "'query_features' or 'query_bits'"),
            ({"query_bits": np.zeros((6, 4), np.uint8), "query_labels": LABELS}, "4 bytes of bits and .* 4 values"),
        ],
    )  # fmt: skip
    def test_mistakes_are_said_plainly(self, tmp_path, end, changes, message):
        arrays = {name: array for name, array in {**GOOD, **changes}.items() if array is not None}
        path = write(tmp_path / f"wrong{end}", arrays)
        with pytest.raises(InputError, match=message) as error:
            imported(path)
        assert str(error.value).startswith(str(path))

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"labels": np.array([b"\xe9"] * 6)}, "'labels' holds text that is no UTF-8"),
            ({"ids": np.array([b"a"] * 5 + [b"\xff"])}, "'ids' holds text that is no UTF-8"),
            ({"classes": np.array([b"\xe9", b"a", b"b"])}, "'classes' holds text that is no UTF-8"),
        ],
    )
    def test_bytes_that_are_no_text(self, tmp_path, end, changes, message):
        with pytest.raises(InputError, match=message):
            imported(write(tmp_path / f"bytes{end}", {**GOOD, **changes}))

    def test_bytes_in_utf_8_are_text(self, tmp_path, end):
        names = np.array(["ñ".encode()] * 2 + [b"a"] * 4)
        assert imported(write(tmp_path / f"bytes{end}", {**GOOD, "labels": names})).classes == ["a", "ñ"]

    def test_classes_that_are_no_list_of_names_are_refused_before_the_run(self, tmp_path, end):
        path = write(tmp_path / f"classes{end}", {**GOOD, "classes": [1, 2, 3]})
        with pytest.raises(InputError, match=r"'classes' is int64 .*expected a list of names"):
            look(path)

    def test_a_file_overwritten_anywhere(self, tmp_path, end):
        whole = write(tmp_path / f"whole{end}", {**GOOD, "ids": list("abcdef")}).read_bytes()
        refused = []
        for start in range(0, len(whole), 97):
            path = tmp_path / f"spoilt{end}"
            path.write_bytes(whole[:start] + b"\xff" * 60 + whole[start + 60 :])
            try:
                imported(path)
            except InputError as error:
                refused.append(str(error))
        assert len(refused) > 5
        assert all(str(path) in message for message in refused)

    def test_a_file_cut_short(self, tmp_path, end):
        path = write(tmp_path / f"short{end}", GOOD)
        path.write_bytes(path.read_bytes()[:-300])
        with pytest.raises(InputError, match=re.escape(str(path))):
            imported(path)


def test_queries_in_a_file_of_their_own(tmp_path):
    gallery = write(tmp_path / "gallery.npz", {**GOOD, "classes": list("xyz")})
    queries = write(tmp_path / "queries.h5", {"features": VALUES[:3], "labels": LABELS[:3]})
    assert look(gallery, queries).queries == 3
    found = imported(gallery, "queries", queries)
    assert [found.classes[i] for i in found.labels] == ["x", "x", "y"]
    twice = write(tmp_path / "twice.npz", {**GOOD, "query_features": VALUES, "query_labels": LABELS})
    with pytest.raises(InputError, match=r"holds queries itself .*leave out `queries: queries.h5`"):
        look(twice, queries)


class Bomb:
    def __reduce__(self):
        return pytest.fail, ("a pickle was loaded",)


@pytest.mark.parametrize("name", ["features", "labels", "ids"])
def test_pickled_objects_are_refused_unread(tmp_path, name):
    path = tmp_path / "objects.npz"
    objects = np.array([Bomb()] * 6, dtype=object)
    assert pickle.dumps(objects)
    np.savez(path, **{**GOOD, name: objects})
    with pytest.raises(InputError, match=f"'{name}' is an array of Python objects"):
        imported(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": np.array(["a\0b"] * 6)}, r"'labels' is 'a\\x00b' in row 0, with a zero character"),
        ({"ids": np.array([*"abcde", "a\0b"])}, r"'ids' is 'a\\x00b' in row 5"),
        ({"ids": np.array(["\ud800"] * 6)}, r"'ids' is '\\ud800' in row 0, with half a character"),
        ({"classes": np.array(["é", "a", "\udfff"])}, r"'classes' is '\\udfff' in row 2"),
    ],
)
def test_text_that_no_artifact_can_hold(tmp_path, changes, message):
    path = tmp_path / "text.npz"
    np.savez(path, **{**GOOD, **changes})
    with pytest.raises(InputError, match=message) as error:
        imported(path)
    assert str(error.value).isascii()


def test_classes_of_objects_are_refused_before_the_run(tmp_path):
    path = tmp_path / "objects.npz"
    np.savez(path, **GOOD, classes=np.array([Bomb()] * 3, dtype=object))
    with pytest.raises(InputError, match=r"objects.npz: 'classes' is objects of shape \(3,\)"):
        look(path)
    gallery = tmp_path / "gallery.npz"
    np.savez(gallery, **GOOD)
    with pytest.raises(InputError, match="'classes' is objects"):
        look(gallery, path)


def declaring(path, **shapes):
    """Write an NPZ file whose arrays are headers without values."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for key, (kind, shape) in shapes.items():
            header = io.BytesIO()
            np.lib.format.write_array_header_1_0(header, {"descr": kind, "fortran_order": False, "shape": shape})
            archive.writestr(f"{key}.npy", header.getvalue())
    return path


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (10**6, r"'features' declares float32 of shape \(1000000, 1000000\), 4,000,000,000,000 bytes, and holds 0"),
        (2**70, "'features' declares float32"),
        (-6, r"'features' declares float32 of shape \(-6, 1000000\), fewer items than none"),
    ],
)
def test_npz_shapes_that_the_file_cannot_hold_are_refused_before_the_run(tmp_path, rows, message):
    path = declaring(tmp_path / "huge.npz", features=("<f4", (rows, 10**6)), labels=("<i8", (rows,)))
    with pytest.raises(InputError, match=message):
        look(path)


def test_an_npz_that_lies_about_its_sizes_is_refused_before_the_run(tmp_path):
    path = declaring(tmp_path / "lies.npz", features=("<f4", (1 << 20, 256)))
    with zipfile.ZipFile(path) as archive:
        began = archive.getinfo("features.npy").file_size
    content = bytearray(path.read_bytes())
    # In the archive's directory, an array's unpacked size stands 24 bytes after the record's start.
    at = content.index(b"PK\x01\x02") + 24
    assert int.from_bytes(content[at : at + 4], "little") == began
    content[at : at + 4] = (began + (1 << 30)).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"'features' declares float32 .*1,024 MiB, and the file keeps .* bytes of it"):
        look(path)


def test_an_hdf5_that_was_never_filled_is_refused_before_the_run(tmp_path):
    path = tmp_path / "huge.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("features", (10**7, 10**5), np.float32, chunks=(1000, 1000))
        file.create_dataset("labels", (10**7,), np.int64, chunks=(1000,))
    with pytest.raises(InputError, match=r"'features' declares float32 .*3,814,697 MiB, and the file keeps 0 bytes"):
        look(path)


@pytest.mark.parametrize("end", [".npz", ".h5"])
def test_compressed_files_are_read_however_dense(tmp_path, end):
    path, zeros = tmp_path / f"dense{end}", np.zeros((40_000, 500), np.float32)
    labels = np.arange(40_000) % 2
    if end == ".npz":
        np.savez_compressed(path, features=zeros, labels=labels)
    else:
        with h5py.File(path, "w") as file:
            file.create_dataset("features", data=zeros, compression="gzip", compression_opts=9, chunks=(4000, 500))
            file.create_dataset("labels", data=labels, compression="gzip", shuffle=True)
    assert path.stat().st_size < 200_000
    assert look(path).items == 40_000


def test_a_machine_too_small_is_told_so(tmp_path, monkeypatch):
    def load(*_arguments, **_options):
        raise MemoryError("Unable to allocate 3.64 TiB")

    path = write(tmp_path / "large.npz", GOOD)
    monkeypatch.setattr(np, "load", load)
    with pytest.raises(
        InputError, match=r"large.npz: 'features' does not fit into memory .Unable to allocate 3.64 TiB"
    ):
        imported(path)


class TestNoWayOutOfAnHdf5File:
    @pytest.fixture
    def elsewhere(self, tmp_path):
        write(tmp_path / "elsewhere.h5", GOOD)
        return tmp_path

    def refused(self, path, message):
        with pytest.raises(InputError, match=f"{path.name}: {message}; copy the values into the file itself"):
            look(path)

    def test_external_links(self, elsewhere):
        path = elsewhere / "link.h5"
        with h5py.File(path, "w") as file:
            file["features"] = h5py.ExternalLink("elsewhere.h5", "features")
            file["labels"] = LABELS
        self.refused(path, "'features' is a link to another file")

    def test_soft_links_through_an_external_one(self, elsewhere):
        path = elsewhere / "soft.h5"
        with h5py.File(path, "w") as file:
            file["features"] = VALUES
            file.create_group("inner")["there"] = h5py.ExternalLink("elsewhere.h5", "/")
            file["labels"] = h5py.SoftLink("/inner/there/labels")
        self.refused(path, "'labels' is a link to another file")

    def test_virtual_datasets(self, elsewhere):
        path = elsewhere / "virtual.h5"
        layout = h5py.VirtualLayout((6, 4), np.float64)
        layout[:] = h5py.VirtualSource(elsewhere / "elsewhere.h5", "features", (6, 4))
        with h5py.File(path, "w") as file:
            file.create_virtual_dataset("features", layout)
            file["labels"] = LABELS
        self.refused(path, "'features' is a virtual dataset, whose values lie in other files")

    def test_values_kept_outside(self, elsewhere):
        path = elsewhere / "outside.h5"
        (elsewhere / "secret").write_bytes(bytes(48))
        with h5py.File(path, "w") as file:
            file.create_dataset("bits", (6, 8), np.uint8, external=[(elsewhere / "secret", 0, 48)])
            file["labels"] = LABELS
        self.refused(path, r"'bits' keeps its values in another file \(.*secret\)")

    def test_links_within_the_file_and_what_nobody_reads_may_stay(self, elsewhere):
        path = elsewhere / "within.h5"
        with h5py.File(path, "w") as file:
            file.create_group("inner/deeper")["values"] = VALUES
            file["inner/labels"] = h5py.SoftLink("/inner/deeper/labels")
            file["inner/deeper/labels"] = LABELS
            file["features"] = h5py.SoftLink("inner/./deeper/values")
            file["labels"] = h5py.SoftLink("/inner/labels")
            file["another"] = h5py.ExternalLink("elsewhere.h5", "features")
        np.testing.assert_array_equal(imported(path).values, VALUES.astype(np.float32))

    def test_links_that_lead_nowhere(self, elsewhere):
        path = elsewhere / "circle.h5"
        with h5py.File(path, "w") as file:
            file["features"] = h5py.SoftLink("/bits")
            file["bits"] = h5py.SoftLink("/features")
            file["labels"] = h5py.SoftLink("/gone/labels")
        with pytest.raises(InputError, match=r"exactly one of the keys .*the file holds nothing"):
            look(path)


def test_files_of_another_kind(tmp_path):
    np.save(tmp_path / "plain.npy", VALUES)
    (tmp_path / "table.npz").write_text("a,b\n1,2\n")
    for name, hint in (
        ("plain.npy", "numpy.savez"),
        ("table.npz", "neither an HDF5 nor an NPZ"),
        ("gone.h5", "no file"),
    ):
        with pytest.raises(InputError, match=hint):
            look(tmp_path / name)
