import csv
import re

import pytest
from trazo import store
from trazo.config import Study, Table, read_settings, read_study
from trazo.errors import InputError
from trazo.report.measures import read_measures
from trazo.report.published import read_published
from trazo.report.tables import build_table, latex, markdown, render_table, spreadsheet, validate_table

from .conftest import CLASSES, DISTANCES, MODELS, STUDY, measure, toy_value, two_stages, write_published


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


@pytest.mark.parametrize("name", ["=1+cmd|' /C calc'!A0", "@SUM(A1)", "+1-1", "-a", "\t=1", "\r=1", "=1"])
def test_a_spreadsheet_takes_no_name_for_a_formula(name):
    assert spreadsheet(name) == f"'{name}"


@pytest.mark.parametrize("name", ["cat", "-5", "+0.5", "a=1", "", "'quoted", "1-2"])
def test_names_that_are_no_formulas_stay_as_they_are(name):
    assert spreadsheet(name) == name


def test_formulas_and_escape_sequences_in_names_do_nothing_in_tables_and_stay_in_metrics(tmp_path):
    hostile = ["=1+1", "\x1b]0;x\x07"]
    study = Study.model_validate(
        {**STUDY, "datasets": {"toys": {**STUDY["datasets"]["toys"], "categories": hostile}}, "published": None}
    )
    rows = [measure(model="small", distance="euclidean", metric="map", value=0.5, **{"class": n}) for n in hostile]
    store.write_metrics(tmp_path / "m.csv", rows)
    table = Table(title="mAP", metrics=["map"])
    files = {end: tmp_path / f"t.{end}" for end in ("csv", "md", "tex")}
    render_table(table=table, study=study, metrics=tmp_path / "m.csv", published=tmp_path / "none.csv", **files)
    with files["csv"].open(newline="") as file:
        assert [row["class"] for row in csv.DictReader(file)][:2] == ["'=1+1", "\x1b]0;x\x07"]
    for end in ("md", "tex"):
        assert "\x1b" not in files[end].read_text()
        assert "�" in files[end].read_text()
    assert [row["class"] for row in store.read_metrics(tmp_path / "m.csv")] == hostile


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


def test_votes_leave_no_query_out_and_say_so_by_silence(finished, tmp_path):
    rows = [
        measure(model="small", metric=metric, distance="cosine", value=0.5, queries=13 - excluded, excluded=excluded)
        for metric, excluded in (("map", 3), ("knn_accuracy@1", 0))
    ]
    store.write_metrics(tmp_path / "m.csv", rows)
    for metric, told in (("map", True), ("knn_accuracy@1", False)):
        _render(finished, Table(title="t", metrics=[metric]), tmp_path, tmp_path / "m.csv")
        for end in ("md", "tex"):
            assert ("3 of 13 queries have no relevant item" in (tmp_path / f"table.{end}").read_text()) == told


def test_a_table_of_nothing_is_refused(finished, tmp_path):
    with pytest.raises(InputError, match="nothing was measured"):
        _render(finished, Table(title="t", metrics=["ndcg"]), tmp_path)


@pytest.mark.parametrize("name", ["animals", "demo"])
def test_tables_of_the_studies_here_can_be_laid_out(name):
    study = read_study(name, read_settings({"studies": [name]}))
    for table in study.tables.values():
        validate_table(table, study)


def _staged(tmp_path):
    points = [("classify", 1), ("classify", 20), ("tune", 1), ("tune", 5)]
    store.write_metrics(
        tmp_path / "m.csv",
        [
            measure(model="small", stage=s, epoch=e, metric="map", value=e / 100 + 0.5 * (s == "tune"))
            for s, e in points
        ],
    )
    return read_measures(tmp_path / "m.csv")


@pytest.mark.parametrize(
    ("rows", "where", "expected"),
    [
        ("epoch", {}, {"1": 51, "5": 55}),
        ("stage", {}, {"classify": 20, "tune": 55}),
        ("stage", {"epoch": 1}, {"classify": 1, "tune": 51}),
        ("epoch", {"stage": "classify"}, {"1": 1, "20": 20}),
        ("model", {}, {"small": 55}),
        ("model", {"epoch": 1}, {"small": 51}),
    ],
)
def test_what_a_table_does_not_name_of_stage_and_epoch_is_the_last(tmp_path, rows, where, expected):
    table = Table(title="t", metrics=["map"], rows=rows, columns=["metric"], where=where)
    grid = build_table(table, two_stages(), _staged(tmp_path), [])
    assert grid.columns == [("map",)]
    assert {row: grid.cell(row, ("map",)).measured.value for row in grid.rows} == pytest.approx(expected)
    assert {cell.measured.seeds for cell in grid.cells.values()} == {1}


def test_several_fixed_values_become_columns(tmp_path):
    table = Table(title="t", metrics=["map"], rows="model", columns=["metric"], where={"epoch": [1, 5]})
    grid = build_table(table, two_stages(), _staged(tmp_path), [])
    assert grid.column_dimensions == ("metric", "epoch")
    assert grid.columns == [("map", "1"), ("map", "5")]


def test_classes_named_like_numbers_and_like_nothing_keep_their_rows(finished, tmp_path):
    names = ["none", "007", "7", "1e3", "1_000", ""]
    rows = [measure(model="small", metric="map", **{"class": n}, value=i / 10) for i, n in enumerate(names)]
    store.write_metrics(tmp_path / "m.csv", rows)
    table = Table(title="t", metrics=["map"], rows="class", columns=["model"])
    grid = build_table(table, finished.study, read_measures(tmp_path / "m.csv"), [])
    assert grid.rows == names
    assert [grid.cell(n, ("small",)).measured.value for n in names] == pytest.approx([0, 10, 20, 30, 40, 50])


def test_the_widths_of_networks_put_no_published_value_into_another_column(finished, tmp_path):
    rows = [
        measure(model=m, metric="map", distance=d, average="classes", reducer="none", size=s, bits=32 * s, value=0.5,
                ranker="exact")
        for m, s in zip(MODELS, (512, 64))
        for d in DISTANCES
    ]  # fmt: skip
    store.write_metrics(tmp_path / "m.csv", rows)
    table = finished.study.tables["by-class"]
    published = read_published(finished.material.published, finished.study)
    grid = build_table(table, finished.study, read_measures(tmp_path / "m.csv"), published)
    assert grid.column_dimensions == ("model", "distance")
    assert all(grid.cell("", column).difference == pytest.approx(50 - 43) for column in grid.columns)


def test_a_metric_that_nothing_computes_is_refused(toy_study):
    table = Table(title="Precisions", metrics=["map", "p@11"])
    with pytest.raises(InputError, match=r"'Precisions'.*unknown metric 'p@11'.*Choices: accuracy, map, p@1\."):
        validate_table(table, toy_study, computed={"map", "p@1", "accuracy"})
    validate_table(table, toy_study)
    validate_table(table, toy_study, {"map", "p@11"})


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"distance": "cosin"}, "unknown distance 'cosin'.*'cosine'"),
        ({"distance": ["cosine", "euclid"]}, "unknown distance 'euclid'.*'euclidean'"),
        ({"ranker": "exakt"}, "unknown ranker.*'exact'"),
        ({"stage": "clasify"}, "unknown stage.*'classify'"),
        ({"epoch": 3}, r"unknown epoch '3'.*Choices: 2\."),
        ({"dataset": "toys-tst"}, "unknown dataset.*'toys-test'"),
        ({"class": "bees"}, "unknown class 'bees'"),
        ({"seed": [0, 1]}, "unknown seed '1'"),
    ],
)
def test_values_that_a_run_never_measures_are_refused_before_it(toy_study, where, message):
    with pytest.raises(InputError, match=f"where: {message}"):
        validate_table(Table(title="t", metrics=["map"], rows="model", columns=[], where=where), toy_study, {"map"})


@pytest.mark.parametrize(
    ("metrics", "where"),
    [
        (["map"], {"distance": "cosine", "epoch": 2.0, "dataset": "toys-test", "stage": "classify", "ranker": "exact"}),
        (["map"], {"class": CLASSES[:2], "seed": 0, "size": 64, "reducer": "none"}),
        (["accuracy"], {"distance": "", "dataset": ["toys/test"]}),
        # Every epoch trained has a loss, searched with or not.
        (["train_loss"], {"epoch": [1, 2], "dataset": "toys-train"}),
    ],
)
def test_values_that_a_run_measures_are_let_through(toy_study, metrics, where):
    validate_table(Table(title="t", metrics=metrics, rows="model", columns=[], where=where), toy_study, set(metrics))


def test_the_caveat_stands_below_markdown_and_latex_and_breaks_neither(finished, tmp_path):
    words = "Not the published set-up: a_b of 56×56 pixels, 50 % & <less>; 3 | 4."
    files = {end: tmp_path / f"table.{end}" for end in ("csv", "md", "tex")}
    material = finished.material
    for caveat in ("", words):
        render_table(
            table=finished.study.tables["by-class"], study=finished.study, metrics=material.metrics,
            published=material.published, caveat=caveat, **files,
        )  # fmt: skip
        texts = {end: file.read_text() for end, file in files.items()}
        assert (
            ("Not the published set-up" in texts["md"]) == ("Not the published set-up" in texts["tex"]) == bool(caveat)
        )
    assert texts["md"].rstrip().splitlines()[-1] == markdown(words)
    assert r"a\_b of 56$\times$56 pixels, 50 \% \& \textless{}less\textgreater{}; 3 \textbar{} 4." in texts["tex"]
    assert texts["tex"].index("pixels") < texts["tex"].index("\\end{table}")
    assert "published set-up" not in texts["csv"]


def test_tables_need_neither_the_studys_title_nor_its_description(finished, tmp_path):
    blank = finished.study.model_copy(update={"title": "", "description": ""})
    written = []
    for study in (finished.study, blank):
        _render(finished, finished.study.tables["by-class"], tmp_path, study=study)
        written.append([(tmp_path / f"table.{end}").read_bytes() for end in ("csv", "md", "tex")])
    assert written[0] == written[1]


def test_published_epochs_stand_beside_the_epochs_they_mean(finished, tmp_path):
    rows = [measure(model="small", metric="accuracy", epoch=e, value=e / 100) for e in (7, 13, 14)]
    store.write_metrics(tmp_path / "m.csv", rows)
    notes = {"about 7.4 epochs": 10, "about 13.4 epochs": 20, "60 epochs": 30}
    base = {"model": "small", "metric": "accuracy", "table": "figure 3"}
    write_published(tmp_path / "p.csv", [base | {"note": note, "value": value} for note, value in notes.items()])
    measures = read_measures(tmp_path / "m.csv")
    spoken = read_published(tmp_path / "p.csv", finished.study)
    for columns, where, expected in (
        (["epoch"], {}, {"7": 10, "13": 20, "14": None}),
        (["epoch"], {"epoch": [7, 14]}, {"7": 10, "14": None}),
        # Of the last epoch alone: a value published for another one does not belong there.
        ([], {}, {"": None}),
    ):
        dimensions = [] if where else columns
        table = Table(
            title="t", metrics=["accuracy"], rows="model", columns=dimensions, where=where, published="figure 3"
        )
        grid = build_table(table, finished.study, measures, spoken)
        found = {column[0] if column else "": grid.cell("small", column).published for column in grid.columns}
        assert found == expected


def _ranked(metric="p@1"):
    return [
        measure(model=m, metric=metric, distance="cosine", ranker=r, reducer="pca", size=s, value=v)
        for m, s, base in (("small", 8, 0.2), ("large", 16, 0.5))
        for r, v in (("exact", base), ("faiss_flat", base + 0.1))
    ]


def test_two_dimensions_run_down_in_the_studys_order(finished, tmp_path):
    store.write_metrics(tmp_path / "m.csv", _ranked()[::-1])
    retrieval = finished.study.retrievals[0].model_copy(update={"rankers": ["exact", "faiss_flat"]})
    study = finished.study.model_copy(update={"retrievals": [retrieval]})
    table = Table(title="t", metrics=["p@1"], rows=["model", "ranker"], columns=["metric"])
    rows = _render(finished, table, tmp_path, tmp_path / "m.csv", study)
    named = ["small · exact", "small · faiss_flat", "large · exact", "large · faiss_flat"]
    assert [row["model · ranker"] for row in rows] == named
    assert [float(row["p@1"]) for row in rows] == pytest.approx([20, 30, 50, 60])
    assert "| small · faiss\\_flat |" in (tmp_path / "table.md").read_text()


def test_rows_of_two_dimensions_leave_no_column_for_either(finished):
    for rows, columns in ((["model", "ranker"], ["ranker"]), (["model", "model"], [])):
        with pytest.raises(InputError, match="can stand in rows, columns or where"):
            validate_table(Table(title="t", metrics=["map"], rows=rows, columns=columns), finished.study)
    with pytest.raises(ValueError, match="needs a dimension that runs down"):
        Table(title="t", metrics=["map"], rows=[])


def test_values_of_several_published_tables_stand_beside_what_they_mean(finished, tmp_path):
    store.write_metrics(tmp_path / "m.csv", _ranked("map"))
    spoken = [
        {"model": model, "ranker": ranker, "metric": "p@1", "value": value, "table": f"task {letter}"}
        for letter, model, ranker, value in [
            ("a", "resnet", "knn", 1),
            ("b", "small", "faiss", 2),
            ("b", "small", "knn", 3),
        ]
    ]
    write_published(tmp_path / "p.csv", spoken)
    told = {
        "study": "bees",
        "datasets": {"Bees-3": "toys-test"},
        "metrics": {"p@1": "map"},
        "rankers": {"knn": "exact", "faiss": "faiss_flat"},
        "models": [{"match": {"model": "resnet"}, "model": "large", "reducer": "pca-size16"}],
    }
    search = {**STUDY["retrievals"][0], "reducers": [{"pca": {"size": 16}}, {"pca": {"size": 8}}]}
    study = Study.model_validate({**STUDY, "retrievals": [search], "published": told, "tables": {}, "figures": {}})
    table = Table(
        title="t", metrics=["map"], rows=["model", "ranker"], columns=["metric"], published=["task a", "task b"]
    )
    grid = build_table(table, study, read_measures(tmp_path / "m.csv"), read_published(tmp_path / "p.csv", study))
    found = {row: grid.cell(row, ("map",)).published for row in grid.rows}
    assert found == {"small · exact": 3, "small · faiss_flat": 2, "large · exact": 1, "large · faiss_flat": None}
    assert grid.published == "task a and task b"
