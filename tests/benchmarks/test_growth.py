"""The benchmark of growth stays runnable: every step works on a handful, and exponents are those of power laws."""

import csv
import tempfile
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import linregress

from tests.benchmarks import growth
from tests.benchmarks.growth import FACTORS, STEPS, Point, as_markdown, as_records, exponent, handful

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("power", [0, 0.5, 1, 2])
def test_exponents_of_power_laws_are_found(power: float) -> None:
    assert exponent(FACTORS, [3.7 * factor**power for factor in FACTORS]) == pytest.approx(power, abs=1e-9)


def test_exponents_are_slopes_of_logarithms() -> None:
    values = [2.0, 5.0, 31.0, 33.0]
    expected = linregress(np.log2([1, 2, 8, 9]), np.log2(values)).slope
    assert exponent([1, 2, 8, 9], values) == pytest.approx(expected)


# umap is pca's step with another reducer, and takes long to compile.
@pytest.mark.parametrize("name", [name for name in STEPS if name != "umap"])
def test_a_step_runs_on_a_handful(tmp_path: Path, name: str) -> None:
    step = STEPS[name]
    step.prepare(tmp_path / "data", handful(step))
    before = {path: path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file()}
    for number in range(2):
        output = tmp_path / f"run {number}"
        output.mkdir()
        step.run(tmp_path / "data", output)
        assert any(path.is_file() and path.stat().st_size for path in output.rglob("*")), "it wrote nothing"
    # Whoever runs it again finds what the first run found.
    assert {path: path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file()} == before


def test_a_point_is_measured_in_a_process_of_its_own() -> None:
    with tempfile.TemporaryDirectory() as folder:
        task = {"name": "search", "folder": folder, "factor": 4, "count": 400}
        growth._child("prepare", task)
        point = Point(**growth._child("measure", task))
        with pytest.raises(RuntimeError, match="measure search at 400 ended with 1:\n"):
            growth._child("measure", {**task, "folder": f"{folder}/nowhere"})
    assert (point.step, point.factor, point.count) == ("search", 4, 400)
    # Of a test's own process, with everything loaded, it would be several times as much.
    assert 20 < point.held_mib <= point.peak_mib < 2000
    assert point.started > point.seconds > 0


def made_up(name: str, power: float, memory_power: float) -> list[Point]:
    return [Point(name, f, 100 * f, 3.0, 0.5 * f**power, 3, 80.0, 90.0 * f**memory_power) for f in FACTORS]


def test_the_table_shows_both_exponents_and_the_start(tmp_path: Path) -> None:
    records = as_records([*made_up("train", 1, 0), *made_up("leave_one_out", 2, 0.5)], others=1.5)
    lines = as_markdown(records).splitlines()
    (train,) = [line for line in lines if line.startswith(f"| {STEPS['train'].title} |")]
    (searched,) = [line for line in lines if line.startswith(f"| {STEPS['leave_one_out'].title} |")]
    assert "| 0.500 s | 2.00 s | 8.00 s | **1.00** | 90 MiB | 90 MiB | 90 MiB | **0.00** | 3.00 s, 80 MiB |" in train
    assert "**2.00**" in searched
    assert "**0.50**" in searched
    assert len({line.count("|") for line in lines if line.startswith("|")}) == 1
    assert lines[-1].endswith("up to 1.5 cores busy as steps began.")
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{growth.BEGIN}\nold\n{growth.END}\nafter\n")
    growth.publish(records, tmp_path, readme)
    assert readme.read_text() == f"before\n{growth.BEGIN}\n\n{as_markdown(records)}\n{growth.END}\nafter\n"
    with (tmp_path / "growth.csv").open(newline="") as file:
        assert as_markdown(list(csv.DictReader(file))) == as_markdown(records)


def test_the_readme_shows_the_table_that_was_measured() -> None:
    file = ROOT / "results" / "reference" / "benchmarks" / "growth.csv"
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    between = text.partition(growth.BEGIN)[2].partition(growth.END)[0].strip()
    if not file.exists():
        assert between == "", "the README shows a table that nobody measured"
        return
    with file.open(newline="", encoding="utf-8") as opened:
        assert between == as_markdown(list(csv.DictReader(opened))).strip()
