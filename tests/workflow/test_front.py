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
    results = json.loads(re.search(r"var results = (\{.*\});", page)[1])
    captions = {entry["filename"]: entry["caption"] for entry in results.values()}
    assert "Curve" in captions["curve.svg"]
    assert "mAP" in captions["map.csv"]
    assert all(captions.values())
    assert {entry["labels"].get("figure") for entry in results.values()} == {"Curve", "Sheet", None}
