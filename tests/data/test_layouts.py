"""Layouts by name: light to import, and each refuses what only others understand."""

import subprocess
import sys
from pathlib import Path

import pytest
from trazo.config import Dataset
from trazo.data.layouts import layouts
from trazo.errors import InputError


def dataset(**settings):
    return Dataset(**{"split": {"train": 1}, **settings})


def test_planning_imports_neither_opencv_nor_pillow_nor_torch():
    code = "import sys, trazo.data.layouts; print({'cv2', 'PIL', 'torch'} & set(sys.modules))"
    library = Path(sys.modules["trazo"].__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": str(library)}
    )
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        (
            "quickdraw",
            {"folder": "x"},
            "folder: .*`quickdraw`, only for folders, ground_truth, listed, named, split_folders",
        ),
        ("folders", {"recognized_only": True}, "recognized_only: .*`folders`, only for quickdraw"),
        ("quickdraw", {"lists": {"train": "t.txt"}}, "lists: .*`quickdraw`, only for ground_truth, listed"),
        ("folders", {"lists": {"train": "t.txt"}}, "lists: .*`folders`, only for ground_truth, listed"),
        ("split_folders", {"lists": {"train": "t.txt"}}, "lists: .*`split_folders`, only for ground_truth, listed"),
        ("split_folders", {"class_pattern": "^(.)"}, "class_pattern: .*`split_folders`, only for listed, named"),
        ("ground_truth", {"class_pattern": "^(.)"}, "class_pattern: .*`ground_truth`, only for listed, named"),
        ("quickdraw", {"rename": {"a": "b"}}, "rename: .*`quickdraw`, only for folders"),
        ("quickdraw", {"instance": "(.+)"}, "instance: .*`quickdraw`, only for folders"),
        ("quickdraw", {"stream": True}, "stream: .*`quickdraw`, only for folders"),
    ],
)
def test_settings_of_other_layouts_are_refused(name, settings, words):
    with pytest.raises(InputError, match=words):
        layouts.get(name).check(dataset(**settings))


@pytest.mark.parametrize(
    ("name", "split", "words"),
    [
        ("quickdraw", {"train": "all"}, "split.train: `all` .*layout `quickdraw` .*write `rest`"),
        ("folders", {"train": 3, "test": "all"}, "split.test: `all` .*layout `folders` .*write `rest`"),
        ("split_folders", {"train": "all", "test": "rest"}, "split.test: `rest` .*`split_folders`.*write `all`"),
        ("listed", {"train": "rest"}, "split.train: `rest` .*`listed`.*write `all`"),
        ("ground_truth", {"train": "rest"}, "split.train: `rest` .*`ground_truth`.*write `all`"),
        ("named", {"train": "all"}, "split.train: `all` .*`named`.*write `rest`"),
    ],
)
def test_all_and_rest_are_refused_where_they_mean_nothing(name, split, words):
    with pytest.raises(InputError, match=words):
        layouts.get(name).check(dataset(split=split))
