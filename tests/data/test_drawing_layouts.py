"""Layouts of drawings: which classes and records a source has."""

import numpy as np
import pytest
from trazo.config import Dataset
from trazo.data.layouts import layouts
from trazo.data.quickdraw import Drawings, write_bin, write_ndjson
from trazo.errors import InputError

DRAWN = layouts.get("quickdraw")


def dataset(**settings):
    return Dataset(**{"split": {"train": 1}, **settings})


def drawings(count):
    return Drawings.from_strokes([[[(i % 256, 0), (9, 9)]] for i in range(count)], key_id=np.arange(count) + 100)


def keys_of(layout, source, spec, name):
    with layout.opened(source, spec, "train") as opened:
        return opened.items(name).ids()


@pytest.fixture
def drawn(tmp_path):
    folder = tmp_path / "drawn"
    write_bin(folder / "The Eiffel Tower.bin", drawings(3))
    write_bin(folder / "cat.bin", drawings(4))
    write_ndjson(folder / "dog.ndjson", drawings(5), "dog")
    (folder / "notes.txt").write_text("x")
    return folder


def test_quickdraw_classes_are_the_files(drawn):
    assert DRAWN.available(drawn, dataset()) == ["The Eiffel Tower", "cat", "dog"]
    assert DRAWN.source_files(drawn, dataset(categories=["dog", "cat"])) == [drawn / "dog.ndjson", drawn / "cat.bin"]


def test_quickdraw_source_may_be_one_file(drawn):
    assert DRAWN.available(drawn / "cat.bin", dataset()) == ["cat"]
    assert DRAWN.source_files(drawn / "cat.bin", dataset()) == [drawn / "cat.bin"]


def test_prefixes_of_handed_on_files_are_no_part_of_the_category(drawn):
    (drawn / "cat.bin").rename(drawn / "full_binary_cat.bin")
    (drawn / "dog.ndjson").rename(drawn / "full_simplified_dog.ndjson")
    assert DRAWN.available(drawn, dataset()) == ["The Eiffel Tower", "cat", "dog"]


def test_bin_is_read_where_a_category_has_both(drawn):
    write_ndjson(drawn / "cat.ndjson", drawings(9), "cat")
    assert DRAWN.source_files(drawn, dataset(categories=["cat"])) == [drawn / "cat.bin"]


def test_unknown_category_names_the_nearest(drawn):
    with pytest.raises(InputError, match=r"'dgo'.*'dog'"):
        DRAWN.source_files(drawn, dataset(categories=["dgo"]))


def test_ids_are_unique_where_identifiers_repeat(tmp_path):
    write_bin(tmp_path / "cat.bin", Drawings.concatenate([drawings(2), drawings(2)]))
    assert keys_of(DRAWN, tmp_path, dataset(), "cat") == ["cat/0-100", "cat/1-101", "cat/2-100", "cat/3-101"]


def test_bin_and_ndjson_of_the_same_drawings_have_the_same_items(tmp_path):
    write_bin(tmp_path / "a" / "cat.bin", drawings(7))
    write_ndjson(tmp_path / "b" / "cat.ndjson", drawings(7), "cat")
    ids = keys_of(DRAWN, tmp_path / "a", dataset(), "cat")
    assert ids == keys_of(DRAWN, tmp_path / "b", dataset(), "cat")
    assert len(ids) == 7


def test_folder_without_drawings_is_an_error(tmp_path):
    with pytest.raises(InputError, match="no Quick, Draw! drawings"):
        DRAWN.available(tmp_path, dataset())
    with pytest.raises(InputError, match="does not exist"):
        DRAWN.available(tmp_path / "nowhere", dataset())
