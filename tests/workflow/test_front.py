"""The front page over several runs, and Snakemake's own report."""

import json
import re
import zipfile

import pytest

from tests.workflow.conftest import STUDY

pytestmark = pytest.mark.workflow


def shown(project):
    return re.findall(r'href="([^"#]+)/report.html"', (project.folder / "results" / "index.html").read_text())


def test_the_front_page_keeps_studies_of_earlier_runs_and_makes_none_of_them_again(project):
    assert shown(project) == ["tiny"]
    report = project.folder / "results" / "tiny" / "report.html"
    made = report.stat().st_mtime_ns
    second = {**STUDY, "title": "Second", "figures": {}, "tables": {}}
    second["models"] = {"one": STUDY["models"]["one"]}
    second["retrievals"] = [{**STUDY["retrievals"][0], "models": ["one"]}]
    project.write_study(second, "second")
    project.snakemake("--config", "studies=[second.yaml]")
    assert shown(project) == ["second", "tiny"]
    assert report.stat().st_mtime_ns == made
    assert project.stale("--config", "studies=[second.yaml]") == {}
    # Another selection of studies writes the front page again, and nothing else.
    assert project.stale() == {"render_index": 1}


def test_tables_figures_and_pages_are_in_snakemake_s_own_report(project):
    project.snakemake("--report", "report.zip")
    with zipfile.ZipFile(project.folder / "report.zip") as archive:
        names = archive.namelist()
        page = archive.read("report/report.html").decode()
    for name in ("map.csv", "curve.svg", "sheet.svg", "report.html", "metrics.csv", "comparison.csv"):
        assert any(entry.endswith(f"/{name}") for entry in names), name
    found = re.search(r"var results = (\{.*?\});?\n", page) or re.search(r"results\s*=\s*(\{.*\})", page)
    assert found
    results = json.loads(found[1])
    captions = {entry["name"]: entry["caption"] for entry in results.values()}
    assert "Curve" in next(words for name, words in captions.items() if "curve" in name)
    assert all(captions.values())
