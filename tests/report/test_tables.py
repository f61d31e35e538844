import csv
import re

import pytest
from trazo import store
from trazo.config import Table, read_settings, read_study
from trazo.errors import InputError
from trazo.report.measures import read_measures
from trazo.report.tables import build_table, latex, markdown, render_table, validate_table

from .conftest import CLASSES, DISTANCES, MODELS, measure, toy_value


def _render(finished, table, folder, metrics=None, study=None):
    render_table(
        table=table,
        study=study or finished.study,
        metrics=metrics or finished.material.metrics,
        published=finished.material.published,
        **{end: folder / f"table.{end}" for end in ("csv", "md", "tex")},
    )
    with (folder / "table.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_rows_stand_in_the_studys_order_with_the_total_last(finished, tmp_path):
    rows = _render(finished, finished.study.tables["by-class"], tmp_path)
    assert [row["class"] for row in rows] == [*CLASSES, "mean of classes"]
    assert {row["unit"] for row in rows} == {"%"}


def test_csv_holds_every_value_with_interval_published_and_difference(finished, tmp_path):
    rows = _render(finished, finished.study.tables["by-class"], tmp_path)
    for position, row in enumerate(rows[:-1]):
        for model in MODELS:
            for distance in DISTANCES:
                value = 100 * toy_value(model, distance, position)
                head = f"{model} {distance}"
                assert float(row[head]) == pytest.approx(value)
                assert float(row[f"{head} ci_high"]) == pytest.approx(value + 5)
                assert float(row[f"{head} published"]) == 40 + position
                assert float(row[f"{head} difference"]) == pytest.approx(value - 40 - position)
    total = sum(100 * toy_value("small", "cosine", i) for i in range(3)) / 3
    assert float(rows[-1]["small cosine"]) == pytest.approx(total)


def test_a_missing_measurement_leaves_the_published_value_standing(finished, tmp_path):
    rows = _render(finished, finished.study.tables["accuracy"], tmp_path)
    assert [row["metric"] for row in rows] == ["accuracy", "loss"]
    assert (rows[0]["unit"], rows[1]["unit"]) == ("%", "")
    store.write_metrics(tmp_path / "m.csv", [measure(model="large", metric="accuracy", value=0.5)])
    rows = _render(finished, finished.study.tables["accuracy"], tmp_path, tmp_path / "m.csv")
    assert (rows[0]["small"], float(rows[0]["small published"]), rows[0]["small difference"]) == ("", 70, "")
    assert (float(rows[0]["large"]), rows[0]["large published"]) == (50, "")
    assert float(rows[1]["large published"]) == 1.5


def test_several_seeds_are_shown_as_mean_and_deviation(finished, tmp_path):
    rows = [measure(model="small", metric="accuracy", seed=s, value=v) for s, v in enumerate((0.5, 0.6, 0.7))]
    store.write_metrics(tmp_path / "m.csv", rows)
    [row] = _render(finished, Table(title="t", metrics=["accuracy"], rows="model", columns=["metric"]), tmp_path,
                    tmp_path / "m.csv")  # fmt: skip
    assert float(row["accuracy deviation"]) == pytest.approx(10)
    assert row["accuracy seeds"] == "3"
    assert "60.0 ± 10.0" in (tmp_path / "table.md").read_text()
    assert r"60.0 $\pm$ 10.0" in (tmp_path / "table.tex").read_text()


def test_names_break_no_markdown_table(finished, tmp_path):
    _render(finished, finished.study.tables["by-class"], tmp_path)
    lines = [line for line in (tmp_path / "table.md").read_text().splitlines() if line.startswith("|")]
    assert len(lines) == 2 + len(CLASSES) + 1
    bars = {len(re.findall(r"(?<!\\)\|", line)) for line in lines}
    assert bars == {1 + 1 + len(MODELS) * len(DISTANCES)}
    assert not re.search(r"(?<!\\)<", "\n".join(lines))


def test_names_break_no_latex_table(finished, tmp_path):
    _render(finished, finished.study.tables["by-class"], tmp_path)
    text = (tmp_path / "table.tex").read_text()
    body = text[text.index("\\toprule") : text.index("\\bottomrule")]
    rows = [line for line in body.splitlines() if line.endswith(r"\\")]
    # 3 columns for each of 4 combinations, and the row's name.
    assert {len(re.findall(r"(?<!\\)&", line)) for line in rows[2:]} == {12}
    for character in "%_$#":
        unescaped = re.sub(r"\$(?:\\pm|-|\\cdot)\$", "", body)
        assert not re.search(rf"(?<!\\){re.escape(character)}", unescaped)
    assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")


@pytest.mark.parametrize("name", ["a\\b{c}", "~^", "x\n\ny", "100 % & more #1 $2"])
def test_escaped_names_keep_their_words_on_one_line(name):
    assert "\n" not in latex(name) + markdown(name)
    assert re.sub(r"\\(.)", r"\1", markdown(name)) == " ".join(name.split())


def test_unnamed_dimensions_that_differ_become_columns(finished, tmp_path):
    rows = [
        measure(model="small", metric="map", dataset=d, distance="cosine", value=v) for d, v in [("a", 0.1), ("b", 0.2)]
    ]
    store.write_metrics(tmp_path / "m.csv", rows)
    table = Table(title="t", metrics=["map"], rows="model", columns=["distance"])
    grid = build_table(table, finished.study, read_measures(tmp_path / "m.csv"), [])
    assert grid.column_dimensions == ("distance", "dataset")
    assert [grid.cell("small", ("cosine", d)).measured.value for d in "ab"] == pytest.approx([10, 20])


def test_a_fixed_dimension_selects(finished):
    table = Table(title="t", metrics=["map"], rows="model", columns=["metric"], where={"distance": "cosine"})
    grid = build_table(table, finished.study, read_measures(finished.material.metrics), [])
    expected = sum(100 * toy_value("large", "cosine", i) for i in range(3)) / 3
    assert grid.cell("large", ("map",)).measured.value == pytest.approx(expected)


def test_epochs_run_down_when_the_table_asks_for_them(finished, tmp_path):
    rows = [measure(model="small", metric="accuracy", epoch=e, value=e / 100) for e in (10, 2, 7)]
    store.write_metrics(tmp_path / "m.csv", rows)
    table = Table(title="t", metrics=["accuracy"], rows="epoch", columns=["model"])
    grid = build_table(table, finished.study, read_measures(tmp_path / "m.csv"), [])
    assert grid.rows == grid.row_labels == ["2", "7", "10"]


def test_numbers_that_head_columns_say_what_they_are(finished, tmp_path):
    rows = [measure(model="small", metric="accuracy", epoch=e, value=e / 100) for e in (10, 2)]
    store.write_metrics(tmp_path / "m.csv", rows)
    table = Table(title="t", metrics=["accuracy"], rows="model", columns=["epoch"])
    [row] = _render(finished, table, tmp_path, tmp_path / "m.csv")
    assert (float(row["epoch 2"]), float(row["epoch 10"])) == (2, 10)
    assert "| model | epoch 2 | epoch 10 |" in (tmp_path / "table.md").read_text()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": "clas"}, "'class'"),
        ({"columns": ["model", "class"]}, "class can stand in rows, columns or where"),
        ({"columns": [], "where": {"model": "smal"}}, "'small'"),
    ],
)
def test_a_table_that_cannot_be_laid_out_is_refused(toy_study, change, message):
    with pytest.raises(InputError, match=message):
        validate_table(Table(title="t", metrics=["map"], **change), toy_study)


def test_a_table_of_nothing_is_refused(finished, tmp_path):
    with pytest.raises(InputError, match="nothing was measured"):
        _render(finished, Table(title="t", metrics=["ndcg"]), tmp_path)


@pytest.mark.parametrize("name", ["animals", "demo"])
def test_tables_of_the_studies_here_can_be_laid_out(name):
    study = read_study(name, read_settings({"studies": [name]}))
    for table in study.tables.values():
        validate_table(table, study)
