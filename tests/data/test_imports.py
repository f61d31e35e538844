"""Features made elsewhere: what a file may hold, and the one sentence that each mistake ends in."""

import pickle
import re

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
