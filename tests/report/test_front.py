"""The front page: every finished study with its verdict, and nothing that breaks out of it."""

import json
import re

import pytest
from trazo.config import Settings, Study
from trazo.errors import InputError
from trazo.report.comparison import compare
from trazo.report.front import finished_studies, render_front
from trazo.report.page import render_page

from .conftest import STUDY


@pytest.fixture
def results(finished, tmp_path):
    """A folder of results with two finished studies, and one that has no report."""
    for name in ("bees", "wasps & <co>"):
        folder = tmp_path / name
        folder.mkdir()
        study = Study.model_validate({**STUDY, "tables": {}, "figures": {}})
        published = finished.material.published
        compare(study=study, metrics=finished.material.metrics, published=published, output=folder / "comparison.csv")
        render_page(
            study=study, original=study, settings=Settings(studies=[name], scale="quick"), sources={},
            metrics=finished.material.metrics, comparison=folder / "comparison.csv", tables=[], figures=[],
            records=finished.records, output=folder / "report.html", verdict=folder / "verdict.json",
        )  # fmt: skip
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "verdict.json").write_text("{}")
    return tmp_path


def test_every_finished_study_is_linked_with_its_verdict(results):
    verdicts = finished_studies(results)
    assert [path.parent.name for path in verdicts] == ["bees", "wasps & <co>"]
    render_front(verdicts, results / "index.html")
    text = (results / "index.html").read_text()
    assert re.findall(r'<h2 id="study-\d"><a href="([^"]+)"', text) == [
        "bees/report.html", "wasps%20%26%20%3Cco%3E/report.html",
    ]  # fmt: skip
    words = " ".join(re.sub(r"<[^>]+>", " ", text).split())
    # large with cosine: the mean of 0.6, 0.63, 0.66; published 43.
    assert "toys-test large · cosine of 4 63.0 58.0–68.0 43.0 +20.0" in words
    assert "<i>&" not in text
    assert "<script" not in text
    assert all(link.startswith(("data:", "bees/", "wasps")) for link in re.findall(r'(?:href|src)="([^"]+)"', text))


def test_what_is_no_verdict_is_refused_by_name(results):
    with pytest.raises(InputError, match=r"begun/verdict\.json is no verdict"):
        render_front([results / "begun" / "verdict.json"], results / "index.html")
    (results / "begun" / "verdict.json").write_text(json.dumps({"version": 0}))
    with pytest.raises(InputError, match="is of version 0, expected 1"):
        render_front([results / "begun" / "verdict.json"], results / "index.html")


def test_without_a_study_the_front_page_says_so(tmp_path):
    render_front([], tmp_path / "index.html")
    assert "No study has finished yet." in (tmp_path / "index.html").read_text()
