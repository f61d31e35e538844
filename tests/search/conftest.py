"""A small finished study: a network and one that gives bits, reducers of a whole gallery and of folds."""

from pathlib import Path

import pytest
from trazo.search.engine import Search

from .studies import make_study


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of the study, for reading only."""
    return make_study(tmp_path_factory.mktemp("search") / "results" / "toys")


@pytest.fixture(scope="session")
def search(finished: Path) -> Search:
    """The study, opened."""
    return Search(finished, device="cpu", threads=1)
