"""What the page tells of rankers beside the exact one."""

import re

import pytest
from trazo import store
from trazo.config import Settings, Study
from trazo.report.comparison import compare
from trazo.report.measures import read_measures
from trazo.report.page import render_page
from trazo.report.story import agreement_words, agreements

from .conftest import STUDY, measure

FEATURES = {"study": "bees", "dataset": "toys-test", "model": "small", "stage": "classify", "epoch": 2, "seed": 0}
FEATURES |= {"reducer": "none", "size": 8, "bits": 256, "fold": "", "distance": "cosine"}


def compared(**cells):
    counts = {"queries": 100, "same": 100, "tied": 0, "rounded": 0, "missed": 0, "other_items": 0}
    said = {"distance_error": 0.0, "largest_gap": 0.0, "computes": "in float32", "misses": ""}
    return {**FEATURES, "ranker": "faiss_flat", "k": 10, **counts, **said, **cells}


@pytest.fixture
def told(tmp_path):
    rankers = ["exact", "faiss_flat", "faiss_pq"]
    retrieval = {**STUDY["retrievals"][0], "rankers": rankers, "metrics": ["p@1", "p@10"]}
    tables = {"p": {"title": "P", "metrics": ["p@1", "p@10"], "rows": "ranker", "columns": ["metric"]}}
    study = Study.model_validate({**STUDY, "retrievals": [retrieval], "tables": tables, "figures": {}})
    # What the files share of the columns.
    same = {name: value for name, value in FEATURES.items() if name not in ("study", "fold")}
    values = {"exact": (0.5, 0.4), "faiss_flat": (0.5, 0.4012), "faiss_pq": (0.25, 0.3)}
    rows = [
        measure(**same, ranker=ranker, metric=metric, value=value)
        for ranker, pair in values.items()
        for metric, value in zip(("p@1", "p@10"), pair)
    ]
    rows.append(measure(**same, ranker="faiss_pq", metric="recall_of_exact@10", value=0.625))
    # Of an earlier epoch: not the network that counts.
    rows.append(measure(**{**same, "epoch": 1}, ranker="faiss_pq", metric="p@1", value=0.9))
    store.write_metrics(tmp_path / "metrics.csv", rows)
    lists = [
        compared(k=1),
        compared(same=97, tied=1, rounded=2, other_items=2, distance_error=3e-6, largest_gap=4e-6),
        compared(seed=1, same=99, tied=1),
        compared(ranker="faiss_pq", same=20, missed=80, misses="it compares codes"),
        compared(ranker="faiss_pq", epoch=1, same=0, missed=100),
    ]
    store.write_agreement(tmp_path / "agreement.csv", lists)
    measures = read_measures(tmp_path / "metrics.csv")
    return study, measures, store.read_agreement(tmp_path / "agreement.csv"), tmp_path


def test_lists_are_added_up_over_seeds_and_metrics_set_against_exact_ones(told):
    study, measures, rows, _ = told
    flat, pq = agreements(rows, measures, study)
    assert (flat.ranker, flat.method, flat.k, flat.queries) == ("faiss_flat", "small", 10, 200)
    assert (flat.tied, flat.rounded, flat.missed) == (2, 2, 0)
    assert flat.differing == {1: 0, 10: 2}
    assert (flat.distance_error, flat.largest_gap, flat.recall) == (3e-6, 4e-6, None)
    assert flat.differences == pytest.approx({"p@1": 0, "p@10": 0.12})
    assert (pq.queries, pq.missed, pq.recall) == (100, 80, ("10", 62.5))
    assert pq.differences == pytest.approx({"p@1": -25, "p@10": -10})


def test_words_give_the_numbers_and_the_reasons(told):
    study, measures, rows, _ = told
    flat, pq, ties = agreement_words(agreements(rows, measures, study))
    assert flat.startswith(
        "faiss_flat: of 200 lists of 10, 196 are those of the exact ranker, item by item. In 2, items at"
    )
    assert "In 2, items change places" in flat
    assert "(off by up to 3e-06 of the largest in a list: it computes them in float32)" in flat
    assert "nearer ones" not in flat
    assert "In 80, items stand in the place of nearer ones, by more than that explains: it compares codes." in pq
    assert "change places" not in pq
    assert ties.startswith("Of items at one distance, the exact ranker's metrics are the expectation")
    (same,) = agreement_words(agreements([row for row in rows if row["k"] == "1"], measures, study))
    assert same == "faiss_flat: all 100 lists of 1 are those of the exact ranker, item by item."


def test_the_page_shows_them_and_carries_the_file(told):
    study, _, _, folder = told
    study = study.model_copy(update={"published": None})
    compare(study=study, metrics=folder / "metrics.csv", published=folder / "none.csv", output=folder / "c.csv")
    for agreement, shown in ((folder / "agreement.csv", True), (None, False)):
        render_page(
            study=study, original=study, settings=Settings(studies=["bees"]), sources={}, tables=[], figures=[],
            metrics=folder / "metrics.csv", comparison=folder / "c.csv", records=[], output=folder / "report.html",
            agreement=agreement,
        )  # fmt: skip
        page = (folder / "report.html").read_text()
        assert ('id="rankers"' in page) == ("agreement.csv" in page) == shown
        if shown:
            part = page[page.index('id="rankers"') : page.index('id="made"')]
            assert re.findall(r'<td class="number">([^<]*)</td>', part)[:9] == [
                "0.0", "2.0", "2", "2", "0", "–", "0.00", "+0.12", "–",
            ]  # fmt: skip
