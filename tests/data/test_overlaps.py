"""Given splits with an image in common, or a class on one side only, stop before anything is built."""

import json

import pytest
from trazo.config import Dataset
from trazo.data.overlaps import OverlapError, check_splits
from trazo.errors import InputError


def source_of(folder, contents):
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return folder


def check(tmp_path, contents, **settings):
    spec = Dataset(**{"layout": "split_folders", "split": {"train": "all", "test": "all"}, **settings})
    output = tmp_path / "splits.json"
    source = source_of(tmp_path / "photos", contents)
    check_splits(source=source, dataset_name="d", dataset=spec, output=output, code="c")
    return json.loads(output.read_text())


def test_record_says_what_the_splits_hold(tmp_path):
    contents = {f"{split}/{name}/1.png": split + name for split in ("train", "test") for name in ("cat", "dog")}
    record = check(tmp_path, contents | {"train/cat/2.png": "more"})
    assert record["settings"]["available"] == {"train": {"cat": 2, "dog": 1}, "test": {"cat": 1, "dog": 1}}
    assert record["settings"]["source"] == "folder photos"
    assert record["code"] == "c"


def test_shared_images_are_named_in_pairs_and_nothing_is_written(tmp_path):
    contents = {f"{split}/cat/{i}.png": f"{i}" for split in ("train", "test") for i in range(7)}
    contents["train/cat/0.png"] = "only here"
    contents["test/cat/moved.png"] = contents.pop("test/cat/3.png")
    with pytest.raises(OverlapError) as caught:
        check(tmp_path, contents)
    message = str(caught.value)
    assert "dataset 'd': 6 images" in message
    assert "train/cat/1.png (train) = test/cat/1.png (test); " in message
    assert "train/cat/3.png (train) = test/cat/moved.png (test); " in message
    assert "0.png" not in message
    assert "; and 1 more. " in message
    assert "remove each from all splits but one" in message
    assert not (tmp_path / "splits.json").exists()


def test_class_on_one_side_only_is_an_error_here_too(tmp_path):
    with pytest.raises(InputError, match="'dog' has images in train and none in test"):
        check(tmp_path, {"train/cat/1.png": "1", "train/dog/1.png": "2", "test/cat/1.png": "3"})
