"""Costs in the graph: measured where they are asked for, and nothing else runs again for them."""

import csv

import pytest

from tests.workflow.conftest import ALL_JOBS, STUDY, changed

pytestmark = pytest.mark.workflow


def test_costs_are_measured_beside_finished_rankings(project):
    project.write_study(changed(("retrievals", 0), {**STUDY["retrievals"][0], "cost": True}))
    following = ("collect_training", "collect_metrics", "compare_published", "render_table", "render_figure")
    expected = {name: ALL_JOBS[name] for name in (*following, "render_report", "render_index")}
    assert project.stale() == {**expected, "measure_cost": 2}
    project.snakemake("results/tiny/metrics.csv", "results/tiny/timings.csv")

    def rows(file):
        with (project.folder / "results" / "tiny" / file).open(newline="") as opened:
            return [row for row in csv.DictReader(opened) if row["metric"].startswith(("query_time", "memory"))]

    assert {(row["model"], row["metric"]) for row in rows("metrics.csv")} == {("one", "memory"), ("two", "memory")}
    times = rows("timings.csv")
    assert len(times) == 2 * 5
    assert all(float(row["value"]) >= 0 for row in times)
    assert not {"measure_cost", "rank_gallery"} & set(project.stale())
