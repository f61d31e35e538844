"""Splits that a source gives: images in several of them are named, and stop what would be built."""

import json

import pytest
from trazo.config import Dataset
from trazo.data.overlaps import OverlapError, compare_splits, refuse_overlaps
from trazo.errors import InputError


def source_of(folder, contents):
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return folder


def compare(tmp_path, contents, **settings):
    spec = Dataset(**{"layout": "split_folders", "split": {"train": "all", "test": "all"}, **settings})
    output = tmp_path / "splits.json"
    source = source_of(tmp_path / "photos", contents)
    compare_splits(source=source, dataset_name="d", dataset=spec, output=output, code="c")
    return output


def test_record_says_what_the_splits_hold(tmp_path):
    contents = {f"{split}/{name}/1.png": split + name for split in ("train", "test") for name in ("cat", "dog")}
    output = compare(tmp_path, contents | {"train/cat/2.png": "more"})
    record = json.loads(output.read_text())
    assert record["settings"]["available"] == {"train": {"cat": 2, "dog": 1}, "test": {"cat": 1, "dog": 1}}
    assert record["settings"]["source"] == "folder photos"
    assert record["code"] == "c"
    assert record["overlaps"] == []
    refuse_overlaps(output)


def test_shared_images_are_named_with_their_splits(tmp_path):
    contents = {f"{split}/cat/{i}.png": f"{i}" for split in ("train", "test") for i in range(7)}
    contents["train/cat/0.png"] = "only here"
    contents["test/cat/moved.png"] = contents.pop("test/cat/3.png")
    output = compare(tmp_path, contents)
    with pytest.raises(OverlapError) as caught:
        refuse_overlaps(output)
    message = str(caught.value)
    assert "dataset 'd': 6 images of folder photos" in message
    assert "train/cat/1.png (train) = test/cat/1.png (test); " in message
    assert "train/cat/3.png (train) = test/cat/moved.png (test); " in message
    assert "0.png" not in message
    assert "; and 1 more. " in message
    assert "remove each from all splits but one" in message


def test_class_on_one_side_only_is_an_error_here_too(tmp_path):
    with pytest.raises(InputError, match="'dog' has images in train and none in test"):
        compare(tmp_path, {"train/cat/1.png": "1", "train/dog/1.png": "2", "test/cat/1.png": "3"})
