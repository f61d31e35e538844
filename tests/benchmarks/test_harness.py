"""Benchmarks stay runnable: every contestant whose library is here works on small arrays, and results agree."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from trazo.retrieval.ranking import rank

from tests.benchmarks import peers, tables
from tests.benchmarks.harness import Benchmark, Contestant, as_record, difference, load, summed_up
from tests.benchmarks.retrieval import among_themselves

KNOWN = load()
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", list(KNOWN))
def test_contestants_of_a_benchmark_find_the_same(name: str) -> None:
    contestants = KNOWN[name].prepare(True)
    first = contestants[0].run(contestants[0].arrays())
    for contestant in contestants[1:]:
        try:
            found = contestant.run(contestant.arrays())
        except ModuleNotFoundError:
            continue
        if contestant.comparable:
            assert difference(found, first) <= KNOWN[name].tolerance, contestant.name


def test_a_study_s_loop_finds_what_a_ranking_does_where_nothing_ties() -> None:
    task = among_themselves(120, 16, 6)
    own = np.arange(120)
    result = rank(
        task.queries,
        task.gallery,
        query_labels=task.query_labels,
        gallery_labels=task.gallery_labels,
        metrics=("map",),
        leave_one_out=own,
    )
    assert peers.study_loop(task)["map"] == pytest.approx(float(np.nanmean(result.values)), abs=1e-9)


def test_memory_of_a_run_is_what_it_took_at_most() -> None:
    # In a process of its own, as benchmarks run: of a large, idle one the system may take back more than a run takes.
    code = (
        "import numpy as np; from tests.benchmarks.harness import timed;"
        "print(timed(lambda size: {'sum': float(np.ones(size, np.uint8).sum())}, 64 << 20)[1])"
    )
    environment = {**os.environ, "PYTHONPATH": "workflow"}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, check=True)
    assert 60 < float(done.stdout) < 100


def rows_of(*seconds: list[float], **settings: object) -> list:
    chosen = Benchmark("speed", "Speed", "query", 100, lambda small: [])
    taken = [[(each, 1.0, {"map": 0.5 + place}) for each in own] for place, own in enumerate(seconds)]
    contestants = [Contestant(f"number {place}", tuple, dict, **settings) for place in range(len(seconds))]
    return [summed_up(chosen, each, own, taken[0], "") for each, own in zip(contestants, taken)]


def test_ratios_are_those_of_the_same_round() -> None:
    first, second = rows_of([1.0, 2.0, 4.0], [10.0, 20.0], wanted=9.0)
    assert first.milliseconds_each == 20.0
    assert second.slower == 10.0
    assert second.reached == "yes"
    assert second.difference == 1.0
    assert second.note.startswith("results differ")


def test_a_contestant_that_could_not_run_is_shown_with_its_reason() -> None:
    chosen = Benchmark("speed", "Speed", "query", 100, lambda small: [])
    row = summed_up(chosen, Contestant("huge", tuple, dict, wanted=2), [], [], "out of memory")
    table = tables.as_markdown([as_record(row) | {"machine": "two cores", "others": "1.4"}], {"speed": chosen})
    assert "| huge | – |" in table
    assert "out of memory" in table
    assert "speed (1.4)" in table


def test_a_benchmark_measured_anew_replaces_its_rows_and_no_others() -> None:
    old = [{"benchmark": name, "contestant": who} for name in ("decode", "hamming") for who in "ab"]
    new = [{"benchmark": "hamming", "contestant": "c"}]
    found = [record["contestant"] for record in tables.merged(old, new, KNOWN)]
    assert sorted(found) == ["a", "b", "c"]


def test_the_readme_shows_the_table_that_was_measured() -> None:
    folder = ROOT / "results" / "reference" / "benchmarks"
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    if not folder.exists():
        between = text.partition("<!-- benchmarks: begin -->")[2].partition("<!-- benchmarks: end -->")[0]
        assert between.strip() == "", "the README shows a table that nobody measured"
        return
    records = tables.read_records(folder / "benchmarks.csv")
    table = (folder / "benchmarks.md").read_text(encoding="utf-8")
    assert tables.as_markdown(records, KNOWN) == table
    assert table in text


def test_what_was_measured_can_be_drawn(tmp_path: Path) -> None:
    records = [
        as_record(row) | {"machine": "two cores", "others": "0.0", "benchmark": "hamming"}
        for row in rows_of([1.0], [3.0])
    ]
    tables.publish(records, KNOWN, tmp_path, tmp_path / "README.md")
    assert tables.read_records(tmp_path / "benchmarks.csv") == [
        {key: str(value) for key, value in record.items()} for record in records
    ]
    assert "number 1" in (tmp_path / "benchmarks.svg").read_text(encoding="utf-8")
