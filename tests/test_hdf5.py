"""HDF5 files from elsewhere: no reader of artifacts is led to other files, or made to fill the memory."""

import operator

import h5py
import numpy as np
import pytest
from trazo.reducers.contract import read_reducer
from trazo.store import (
    ArtifactError,
    Features,
    FittedReducer,
    read_features,
    read_images,
    write_features,
    write_fitted,
    write_images,
)


@pytest.fixture
def features(tmp_path):
    """A whole artifact, and beside it a file with what its reader must not see."""
    with h5py.File(tmp_path / "elsewhere.h5", "w") as file:
        file["secret"] = np.ones((2, 3), np.float32)
    path = tmp_path / "features.h5"
    write_features(path, Features(np.zeros((2, 3), np.float32), np.zeros(2, int), ["a", "b"], ["cat"]))
    return path


def remade(path, change):
    """Write a file anew as a stranger would: the same but for what `change` does to it."""
    with h5py.File(path) as old, h5py.File(path.with_suffix(".new"), "w") as new:
        for name in old:
            old.copy(name, new)
        new.attrs.update(old.attrs)
        change(new)
    path.with_suffix(".new").replace(path)


def external_link(file, folder):
    file["values"] = h5py.ExternalLink(str(folder / "elsewhere.h5"), "secret")


def external_link_deeper(file, folder):
    file["values"] = np.zeros((2, 3), np.float32)
    file.create_group("more/deeper")["x"] = h5py.ExternalLink(str(folder / "elsewhere.h5"), "/")


def soft_link(file, folder):
    file["values"] = h5py.SoftLink("/classes")


def virtual(file, folder):
    layout = h5py.VirtualLayout((2, 3), np.float32)
    layout[:] = h5py.VirtualSource(folder / "elsewhere.h5", "secret", (2, 3))
    file.create_virtual_dataset("values", layout)


def values_outside(file, folder):
    (folder / "raw").write_bytes(bytes(24))
    file.create_dataset("values", (2, 3), np.float32, external=[(folder / "raw", 0, 24)])


def never_filled(file, folder):
    file.create_dataset("values", (1 << 22, 1 << 16), np.float32, chunks=(1024, 1024))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (external_link, "'values' is a link that is not the file's own"),
        (external_link_deeper, "'more/deeper/x' is a link that is not the file's own"),
        (soft_link, "'values' is a link that is not the file's own"),
        (virtual, "'values' is a virtual dataset, whose values lie in other files"),
        (values_outside, r"'values' keeps its values in another file \(.*raw\)"),
        (never_filled, "'values' claims 1,048,576 MiB, and the file keeps 0 bytes of it"),
    ],
)
def test_artifacts_that_trazo_cannot_have_written_are_refused(features, tmp_path, spoil, words):
    assert len(read_features(features)) == 2

    def change(file):
        del file["values"]
        spoil(file, tmp_path)

    remade(features, change)
    with pytest.raises(ArtifactError, match=rf"features\.h5 was not written by trazo: {words}; delete it"):
        read_features(features)


def test_a_fitted_reducer_leads_nowhere(tmp_path, features):
    write_fitted(tmp_path / "pca.h5", FittedReducer("pca", {"size": 2}, {"mean": np.zeros(3, "f4")}))
    link = h5py.ExternalLink(str(tmp_path / "elsewhere.h5"), "secret")
    remade(tmp_path / "pca.h5", lambda file: operator.setitem(file, "arrays/components", link))
    with pytest.raises(ArtifactError, match="'arrays/components' is a link that is not the file's own"):
        read_reducer(tmp_path / "pca.h5")


def test_the_densest_artifacts_are_read(tmp_path):
    # White images shrink more than any others.
    blocks = (np.full((500, 128, 128), 255, np.uint8) for _ in range(12))
    given = {"labels": np.zeros(6000, int), "ids": list(map(str, range(6000))), "classes": ["a"], "record": {}}
    write_images(tmp_path / "white.h5", blocks, shape=(6000, 128, 128), **given)
    assert (tmp_path / "white.h5").stat().st_size < 3 << 20
    assert (read_images(tmp_path / "white.h5", rows=np.array([0, 5999])).pixels == 255).all()
