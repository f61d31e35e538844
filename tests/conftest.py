"""Fixtures shared by all tests."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session", autouse=True)
def one_gpu_for_all() -> Iterator[None]:
    """Processes that run tests share a GPU, which else the first would keep for itself; `test_claims` tests that."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRAZO_SHARE_GPU", "1")
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real drawings and photos kept beside a development checkout."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"needs real data in {folder}, which a user's clone does not have")
    return folder


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of colour photos, 3 classes of 21 of many sizes, for reading only."""
    folder = tmp_path_factory.mktemp("photos")
    draw = np.random.default_rng(0)
    for name in ("cat", "dog", "owl"):
        (folder / name).mkdir()
        for number in range(21):
            coarse = Image.fromarray(draw.integers(0, 256, (5, 4, 3), dtype=np.uint8))
            width, height = draw.integers(20, 90, 2).tolist()
            coarse.resize((width, height)).save(folder / name / f"{number}.jpg")
    return folder
