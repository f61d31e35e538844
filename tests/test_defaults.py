"""What a study leaves out is filled in to suit its files; what it says stays."""

import pytest
from trazo.config import ConfigError, Study
from trazo.data.imports import FeatureFile
from trazo.defaults import METRICS, completed

NUMBERS = FeatureFile(packed=False, width=8, items=10, queries=0)
BITS = FeatureFile(packed=True, width=8, items=10, queries=0)
APART = FeatureFile(packed=False, width=8, items=10, queries=3)


def study(*names, **keys):
    return Study.model_validate({"title": "t", "features": {name: {"source": "f.npz"} for name in names}, **keys})


def test_the_shortest_study_gets_everything():
    found = completed(study("a", "b"), {"a": NUMBERS, "b": NUMBERS})
    (retrieval,) = found.retrievals
    assert (retrieval.label, retrieval.leave_one_out, retrieval.distances) == ("a+b", True, ["euclidean"])
    assert retrieval.metrics == METRICS
    assert found.tables["retrieval"].metrics == ["map", "p@1", "mrr"]
    assert {figure.kind for figure in found.figures.values()} == {"recall_precision", "class_bars"}


def test_what_cannot_be_searched_alike_gets_retrievals_of_its_own():
    found = completed(study("a", "b", "c"), {"a": NUMBERS, "b": BITS, "c": APART})
    assert [(r.features, r.distances, r.leave_one_out) for r in found.retrievals] == [
        (["a"], ["euclidean"], True),
        (["b"], ["hamming"], True),
        (["c"], ["euclidean"], False),
    ]


def test_what_is_written_stays():
    given = study("a", retrievals=[{"features": ["a"], "distances": ["cosine"], "metrics": ["p@3"]}], tables={})
    found = completed(given, {"a": NUMBERS})
    assert found.retrievals[0].distances == ["cosine"]
    assert found.retrievals[0].metrics == ["p@3"]
    assert (found.tables, found.figures) == ({}, {})
    assert completed(found, {"a": NUMBERS}) == found


def test_rankers_that_miss_items_show_how_many():
    given = {"features": ["a"], "metrics": ["map", "p@1", "recall@5"]}
    for rankers, shown in (
        (["exact"], []),
        (["exact", "faiss_flat"], ["recall_of_exact@5"]),
        ([{"faiss_ivf": {"lists": 2, "probes": 1}}], ["recall_of_exact@5"]),
        (["faiss_falt"], []),
    ):
        found = completed(study("a", retrievals=[{**given, "rankers": rankers}]), {"a": NUMBERS})
        assert found.tables["retrieval"].metrics == ["map", "p@1", "recall@5", *shown]


@pytest.mark.parametrize(
    ("retrieval", "file", "message"),
    [
        ({"distances": ["hamming"]}, NUMBERS, r"retrievals\[0\].distances: 'hamming' does not fit a, .* packed `bits`"),
        ({"distances": ["cosine"]}, BITS, "'cosine' does not fit a, which holds packed bits"),
        ({"leave_one_out": True}, APART, r"retrievals\[0\].leave_one_out: the file holds queries"),
    ],
)
def test_what_does_not_fit_the_file(retrieval, file, message):
    with pytest.raises(ConfigError, match=message):
        completed(study("a", retrievals=[{"features": ["a"], **retrieval}]), {"a": file})


def test_bits_and_numbers_in_one_retrieval():
    with pytest.raises(ConfigError, match="a has numbers and no queries; b has bits and no queries"):
        completed(study("a", "b", retrievals=[{"features": ["a", "b"]}]), {"a": NUMBERS, "b": BITS})


@pytest.mark.parametrize(
    ("retrieval", "message"),
    [
        ({}, "`models` with `queries` and `gallery`, or `features`"),
        ({"features": ["a"], "queries": "a/b"}, "`queries` is for models"),
        ({"features": ["a"], "epochs": [1]}, "`stage` and `epochs` are for models"),
        ({"features": ["b"]}, r"retrievals\[0\].features: unknown features 'b'"),
        ({"models": ["a"], "queries": "a/b"}, "needs `gallery`"),
    ],
)
def test_retrievals_that_are_neither(retrieval, message):
    with pytest.raises(ValueError, match=message):
        study("a", retrievals=[retrieval])
