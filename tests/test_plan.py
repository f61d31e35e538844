"""What planning knows of imported features before anything runs, and whose code a ranking's fingerprint is of."""

import shutil

import numpy as np
import pytest
import yaml
from trazo import plan
from trazo.config import ConfigError, Settings
from trazo.provenance import LIBRARY, code_fingerprint
from trazo.retrieval.distances import distances


@pytest.fixture
def planned(tmp_path, monkeypatch):
    """Return a function that plans a retrieval of 60 items of 12 values in 3 classes."""
    monkeypatch.chdir(tmp_path)
    answer = {"networks": [], "objectives": [], "distances": distances.names()}
    monkeypatch.setattr(plan, "ask_torch", lambda *_: answer)
    np.savez("mine.npz", features=np.random.default_rng(0).normal(size=(60, 12)), labels=np.arange(60) % 3)

    def make(**retrieval):
        retrieval = {"features": ["mine"], "metrics": ["map", "p@5"], **retrieval}
        study = {"title": "t", "features": {"mine": {"source": "mine.npz"}}, "retrievals": [retrieval]}
        (tmp_path / "s.yaml").write_text(yaml.safe_dump(study))
        return plan.make_plans(Settings(studies=["s.yaml"]), tmp_path / "cache")["s"]

    return make


@pytest.mark.parametrize(
    ("ranker", "message"),
    [
        ({"faiss_ivf": {"lists": 61, "probes": 1}}, "faiss_ivf: 1 probes of 61 lists; expected probes ≤ lists ≤ 60"),
        ("faiss_ivf", "faiss_ivf: 8 probes of 64 lists"),
        ({"faiss_pq": {"pieces": 5, "bits": 4}}, "faiss_pq: 5 pieces do not divide a feature of 12 values evenly"),
        ({"faiss_pq": {"pieces": 4}}, "faiss_pq: 8 bits ask for 256 centroids, and the gallery has 60 items"),
        ({"faiss_pq": {"pieces": 6, "bits": 2}}, "faiss_pq: pieces of 2 values need 3 bits or more, and have 2"),
    ],
)
def test_rankers_that_do_not_fit_imported_features_are_refused_before_the_run(planned, ranker, message):
    with pytest.raises(ConfigError, match=rf"study s: retrievals\[0\].rankers: features mine: {message}"):
        planned(rankers=["exact", ranker])


def test_rankers_that_fit_are_planned(planned):
    found = planned(rankers=["exact", {"faiss_ivf": {"lists": 60}}, {"faiss_pq": {"pieces": 4, "bits": 5}}])
    assert len(found.rankings()) == 3
    assert "recall_of_exact@5" in found.study.tables["retrieval"].metrics


def test_a_ranking_is_of_its_own_ranker_s_code_and_no_other_s(planned, tmp_path):
    found = planned(rankers=["exact", "sklearn", {"faiss_ivf": {"lists": 4, "probes": 2}}])
    library = tmp_path / "trazo"
    shutil.copytree(LIBRARY, library, ignore=shutil.ignore_patterns("__pycache__"))
    file = library / "retrieval" / "rankers.py"

    def fingerprints():
        return {
            label.partition("-")[0]: code_fingerprint(
                "trazo.retrieval.gallery", parts=found.parts_of_ranking("mine", "euclidean", label), root=library
            )
            for label in found.study.retrievals[0].ranker_labels
        }

    def touched(old, new):
        before, text = fingerprints(), file.read_text(encoding="utf-8")
        assert text.count(old) == 1
        file.write_text(text.replace(old, new), encoding="utf-8")
        return {name for name, after in fingerprints().items() if after != before[name]}

    assert touched("faiss.IndexIVFFlat(", "faiss.IndexIVFPQ(") == {"faiss_ivf"}
    assert touched("self.index.add(gallery)", "self.index.add(gallery[:9])") == {"faiss_ivf"}
    assert touched('algorithm="brute"', 'algorithm="auto"') == {"sklearn"}
    assert touched("whole = True", "whole = 1 > 0") == {"exact"}
    assert touched("return faiss.IndexFlat(width, metric)", "return None") == set()
