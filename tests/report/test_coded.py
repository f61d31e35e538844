"""Codes of many methods and sizes: tables beside the published ones, and the figures that compare them."""

import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from trazo import planning, store
from trazo.config import ConfigError, Figure, Settings, Study, Table, read_study
from trazo.errors import InputError
from trazo.plan import Learning, Plan
from trazo.report.coded import Code, shown_codes, varied
from trazo.report.comparison import compared
from trazo.report.drawing import Material
from trazo.report.figures import render_figure, validate_figure
from trazo.report.kinds.sizes import BySize
from trazo.report.kinds.trade import undominated
from trazo.report.measures import (
    QUERY_TIMES,
    SIZES,
    Summary,
    lower_is_better,
    read_measures,
    reduced_by,
    reducer_label,
    reducer_names,
    reducer_parts,
    select,
    unit_of,
)
from trazo.report.published import read_published
from trazo.report.series import all_series, sized_reducer_label
from trazo.report.tables import build_table, validate_table

from .coded import BITS, CLASSES, FLOATS, SHARES, coded_study, found_map, write_coded
from .conftest import STUDY


@pytest.fixture(scope="module")
def study():
    return coded_study()


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    return write_coded(tmp_path_factory.mktemp("coded"))


@pytest.fixture(scope="module")
def measures(material):
    return read_measures(material.metrics, material.timings)


def drawn(study, material, folder, kind, **options):
    """Draw a figure; return the words that stand for it, and all its texts."""
    svg, png = folder / "f.svg", folder / "f.png"
    render_figure(
        figure=Figure(title="t", kind=kind, options=options), study=study, material=material, svg=svg, png=png
    )
    with Image.open(png) as picture:
        assert picture.convert("L").getextrema()[0] < 100
    root = ElementTree.parse(svg).getroot()
    texts = ["".join(e.itertext()).strip() for e in root.iter("{http://www.w3.org/2000/svg}text")]
    return root.findtext(".//{http://purl.org/dc/elements/1.1/}description"), texts


# Tables -----------------------------------------------------------------------------------------------------------

BY_SIZE = {"title": "t", "rows": "size", "columns": ["reducer"]}
METHODS = ["none", "pca", "umap", "crs", "cbs", "dtsh"]


def by_size(study, measures, material, **settings):
    where = {"dataset": "toys-reduced", "reducer": METHODS, **settings.pop("where", {})}
    table = Table(**BY_SIZE, where=where, **settings)
    validate_table(table, study, computed={"map", "mrr", *QUERY_TIMES, *SIZES})
    return build_table(table, study, measures, read_published(material.published, study))


def test_sizes_by_reducers_stand_beside_the_published_ones(study, measures, material):
    grid = by_size(study, measures, material, metrics=["map"], published="table 4.3")
    assert grid.column_dimensions == ("reducer",)
    assert [labels[0] for labels in grid.column_labels] == ["none", "PCA", "UMAP", "CRS", "CBS", "DTSH"]
    assert grid.rows == ["4", "8", "16", "32", "64", "128", "256", "512", "1024", "2048"]
    cell = grid.cell("64", ("cbs",))
    assert cell.measured.value == pytest.approx(100 * found_map("cbs", 64))
    assert cell.published == 39
    assert grid.cell("4", ("umap",)).published == pytest.approx(57)
    # Published and not measured; measured and not published.
    assert (grid.cell("1024", ("crs",)).measured, grid.cell("1024", ("crs",)).published) == (None, pytest.approx(40))
    assert grid.cell("2048", ("",)).published is None
    assert ("128", ("cbs",)) not in grid.cells


def test_costs_stand_in_their_units(study, measures, material):
    times = by_size(study, measures, material, metrics=["query_time"], published=["table 4.7", "section 4.5"])
    assert times.cell("64", ("dtsh",)).published == 20.2
    assert times.cell("64", ("dtsh",)).measured.value == pytest.approx(0.02 + 0.0015 * 64 + 0.6)
    assert times.cell("2048", ("",)).published == 120
    assert times.cell("64", ("pca",)).unit.sign == "ms"
    memory = by_size(study, measures, material, metrics=["memory"], published="table 4.8")
    assert memory.cell("32", ("cbs",)).published == 1.8
    assert memory.cell("32", ("cbs",)).measured.value == pytest.approx(1.856)
    assert memory.cell("32", ("cbs",)).unit.sign == "MB"


def test_a_reducer_fitted_on_parts_of_a_gallery_stands_beside_the_published_parts(study, measures, material):
    where = {"reducer": ["umap", *(f"umap-share{share}" for share in SHARES)], "size": 16, "dataset": "toys-reduced"}
    metrics = ["map", "mrr", "memory"]
    table = Table(title="t", metrics=metrics, rows="reducer", columns=["metric"], where=where, published="table 4.9")
    grid = build_table(table, study, measures, read_published(material.published, study))
    assert grid.column_dimensions == ("metric",)
    assert set(grid.row_labels) == {"UMAP", *(f"UMAP fitted on {round(100 * s)} %" for s in SHARES)}
    # "10 %" is not "100 %".
    rows = ("umap-share0.1", "umap-share0.4", "umap")
    assert [grid.cell(row, ("memory",)).published for row in rows] == [12, 182, 453]
    assert [grid.cell(row, ("map",)).published for row in ("umap-share0.1", "umap")] == pytest.approx([48, 58])


def test_several_retrievals_are_spread_with_their_published_values(study, measures, material):
    where = {"dataset": ["toys-whole", "toys-reduced"], "reducer": ["none", "pca"], "size": [2048, 64]}
    table = Table(title="t", metrics=["map"], rows="size", columns=["dataset", "reducer"], where=where,
                  published="table 4.3")  # fmt: skip
    grid = build_table(table, study, measures, read_published(material.published, study))
    assert grid.cell("64", ("toys-reduced", "pca")).published == pytest.approx(41)
    assert grid.cell("2048", ("toys-whole", "")).measured.value == pytest.approx(43)


def test_every_published_row_of_a_method_and_size_is_compared(study, measures, material):
    rows = compared(study, measures, read_published(material.published, study))
    of = {
        (r.published.table, r.published.reducer, r.published.size, r.published.metric, r.published.note[:18]): r
        for r in rows
        if r.published.dataset == "Flickr15K"
    }
    assert of["table 4.3", "cbs", "4", "map", "128 bits"].measured.value == pytest.approx(found_map("cbs", 4))
    assert of["table 4.5", "pca", "64", "mrr", ""].measured is not None
    assert of["table 4.7", "crs", "32", "query_time", ""].measured.value == pytest.approx(0.02 + 0.004 * 32 + 0.6)
    assert of["table 4.9", "umap", "", "memory", "UMAP fitted on 10 "].measured is not None
    assert of["table 4.3", "umap", "1024", "map", ""].why == "size 1024 was not run"
    assert of["table 4.10", "parametric_umap", "4", "map", ""].why == "reducer 'parametric_umap' was not run"
    # Where two retrievals have a value, the one listed first counts.
    whole = next(r for r in rows if r.published.table == "table 4.2" and r.published.model == "seresnet50")
    assert whole.measured.value == pytest.approx(0.43)
    assert of["section 4.5", "none", "2048", "query_time", ""].measured is not None


# Names and units --------------------------------------------------------------------------------------------------


def test_options_of_reducers_are_read_from_their_labels():
    assert reducer_parts("umap-n_neighbors5-min_dist0.0") == ("umap", {"n_neighbors": "5", "min_dist": "0.0"})
    assert reducer_parts("pca-whiten") == ("pca", {"whiten": ""})
    assert reducer_parts("umap-lr1e-05-share0.25") == ("umap", {"lr": "1e-05", "share": "0.25"})
    assert reducer_parts("mine-2x-4") == ("mine", {"2x": "", "4": ""})
    assert reducer_label("umap-n_neighbors5-share0.1") == "UMAP n_neighbors 5 fitted on 10 %"
    names = [reducer_label(name) for name in ("cbs", "parametric_umap", "none", "")]
    assert names == ["CBS", "parametric UMAP", "none", "none"]
    assert sized_reducer_label("pca-size32-whiten") == "PCA 32 whiten"
    assert sized_reducer_label("umap-size16-share0.1") == "UMAP 16 fitted on 10 %"


def test_costs_are_in_milliseconds_and_megabytes_and_less_is_better():
    assert {unit_of(metric).sign for metric in QUERY_TIMES} == {"ms"}
    assert {unit_of(metric).sign for metric in SIZES} == {"MB"}
    assert all(lower_is_better(metric) for metric in (*QUERY_TIMES, *SIZES))


def test_learned_codes_are_reducers_of_their_own(study, measures):
    assert reducer_names(study)[:3] == ["", "pca", "umap"]
    assert reducer_names(study)[-3:] == ["crs", "cbs", "dtsh"]
    for label in ("", "pca-size64"):
        found = reduced_by(select(measures, metric="map", dataset="toys-reduced"), label, study)
        assert {m.reducer for m in found if m.model == "net"} == {"pca" if label else "none"}
        # No reducer is applied to codes, so that none sorts them out.
        assert {m.model for m in found} - {"net"} == {
            *(f"crs-{n}" for n in FLOATS), *(f"{name}-{n}" for name in ("cbs", "dtsh") for n in BITS),
        }  # fmt: skip


def test_what_stands_side_by_side_is_named_by_what_differs(study):
    found = all_series(study, ["net", "cbs-128"], ["none", "umap-size16"])
    assert [(s.name, s.model, s.reducer) for s in found] == [
        ("net", "net", "none"), ("UMAP 16", "net", "umap-size16"), ("cbs-128", "cbs-128", "none"),
    ]  # fmt: skip
    assert [s.name for s in all_series(study, ["net", "cbs-128"], ["umap-size16"])] == ["net", "cbs-128"]


# Codes ------------------------------------------------------------------------------------------------------------


def test_codes_are_gathered_by_method_and_size(study, measures):
    codes = shown_codes(BySize(retrieval="toys-reduced"), study, measures, ["map", "memory"])
    cbs = [code for code in codes if code.method == "CBS"]
    assert [code.size for code in cbs] == sorted(bits / 32 for bits in BITS)
    assert {(code.model, code.packed, code.bytes / code.size) for code in cbs} == {("cbs", True, 4.0)}
    assert codes[0].method == "none"
    assert codes[0].values["map"].value == pytest.approx(42)
    only = shown_codes(BySize(retrieval="toys-reduced"), study, measures, ["map"], ["none", "pca"])
    assert [c.method for c in only] == ["none", *["PCA"] * len(FLOATS)]
    with pytest.raises(InputError, match="none of p@5 was measured on toys-reduced"):
        shown_codes(BySize(retrieval="toys-reduced"), study, measures, ["p@5"])


def test_what_no_code_outdoes_is_what_comparing_every_pair_leaves():
    draw = np.random.default_rng(0)
    pairs = draw.integers(1, 9, (40, 2)).astype(float)
    codes = [
        Code("m", "m", "net", i, False, {"query_time": _plain(x), "map": _plain(y)}) for i, (x, y) in enumerate(pairs)
    ]
    kept = []
    for i, (x, y) in enumerate(pairs):
        worse = [1 for u, v in pairs if u <= x and v >= y and (u < x or v > y)]
        kept += [] if worse else [i]
    front = undominated(codes, "query_time", "map")
    assert sorted(code.size for code in front) == kept
    times = [code.values["query_time"].value for code in front]
    assert times == sorted(times)


def _plain(value):
    return Summary(value, None, None, None, 1, 1)


def test_options_of_a_method_are_told_from_its_reducers(study):
    assert varied("umap", ["share"], {"share": 1.0}, ["umap", "umap-share0.1", "umap-min_dist0.1", "pca", ""]) == {
        "umap": (1.0,), "umap-share0.1": (0.1,),
    }  # fmt: skip
    pairs = varied("umap", ["n_neighbors", "min_dist"], {}, reducer_names(study))
    assert len(pairs) == 15
    assert pairs["umap-n_neighbors30-min_dist0.5"] == (30, 0.5)
    filled = varied("umap", ["n_neighbors", "min_dist"], {"n_neighbors": 15, "min_dist": 0.1}, ["umap"])
    assert filled == {"umap": (15, 0.1)}


# Figures ----------------------------------------------------------------------------------------------------------


def test_a_figure_by_size_shows_methods_bytes_and_published_values(study, material, tmp_path):
    words, texts = drawn(
        study, material, tmp_path, "by_size", retrieval="toys-reduced", methods=METHODS,
        metrics=["map", "mrr", "query_time", "memory"],
        published=["table 4.3", "table 4.5", "table 4.7", "table 4.8", "section 4.5"],
    )  # fmt: skip
    assert "mAP: none (2048 values) 42.0 %; PCA 17.0 % at 4 values" in words
    assert re.search(r"CBS 34\.2 % at 4 values, 39\.0 % at 64 values", words)
    assert "query time: none (2048 values) 8.81 ms" in words
    for text in ("PCA", "CBS", "none (2048 values)", "published", "95 % interval", "16 B", "4 KiB"):
        assert text in texts, text
    # Bits stand below the floats of equal bytes.
    assert "2,048" in texts


def test_a_figure_by_an_option_shows_it_against_the_default(study, material, tmp_path):
    words, texts = drawn(
        study, material, tmp_path, "by_option", retrieval="toys-reduced", method="umap", option="share",
        metrics=["map", "mrr", "memory"], published="table 4.9",
    )  # fmt: skip
    assert "UMAP 16 47.3 % at share 0.1, 54.6 % at share 1" in words
    assert {"10", "40", "70", "100", "UMAP 16", "published"} <= set(texts)


def test_a_heat_map_says_where_it_is_best_and_worst(study, material, tmp_path):
    words, texts = drawn(
        study, material, tmp_path, "heat_map", retrieval="toys-reduced", method="umap", across="n_neighbors",
        up="min_dist", defaults={"n_neighbors": 15, "min_dist": 0.1},
    )  # fmt: skip
    # The reducer that names neither option is the one of the defaults.
    best = 100 * found_map("umap", 8)
    assert f"best {best:.1f} % at n_neighbors 15 and min_dist 0.1" in words
    assert re.search(r"worst \d+\.\d % at n_neighbors 5 and min_dist 0\.5; features as they are 42\.0 %", words)
    assert f"{best:.1f}" in texts
    assert "n_neighbors" in texts


def test_a_trade_off_names_what_nothing_outdoes(study, material, tmp_path):
    words, texts = drawn(study, material, tmp_path, "trade_off", retrieval="toys-reduced", methods=METHODS)
    front = re.findall(r"(\w+) of ([\d,]+ \w+) \(mAP", words)
    # Bits are the fastest here, and UMAP finds the most.
    assert front[0] == ("CBS", "128 bits")
    assert front[-1] == ("UMAP", "32 values")
    assert list(dict.fromkeys(name for name, _ in front)) == ["CBS", "PCA", "none", "UMAP"]
    assert {"128 bits", "outdone by none", "Query time (ms)", "mAP (%)"} <= set(texts)


def test_curves_and_bars_set_reducers_side_by_side(study, material, tmp_path):
    chosen = {"retrieval": "toys-reduced", "models": ["net", "cbs-2048"], "reducers": ["none", "umap-size64"]}
    words, texts = drawn(study, material, tmp_path, "recall_precision", interpolated=True, **chosen)
    assert [text for text in texts if text in {"net", "UMAP 64", "cbs-2048"}] == ["net", "UMAP 64", "cbs-2048"]
    assert "UMAP 64: " in words
    words, texts = drawn(study, material, tmp_path, "class_bars", **chosen)
    assert {"net", "UMAP 64", "cbs-2048"} <= set(texts)
    # One panel: bits stand beside floats, not apart.
    assert texts.count("mAP (%)") == 1
    ends = [f"{CLASSES[i]} {100 * found_map('umap', 64) * (0.6 + 0.15 * i):.1f}" for i in (0, 5)]
    assert f"UMAP 64: mAP from {ends[0]} to {ends[1]} %" in words


def test_a_contact_sheet_has_a_row_for_every_reducer_and_learned_code(finished, tmp_path):
    large = {**STUDY["models"]["large"], "head": {"cbs": {"bits": 8}}, "feature": "code"}
    retrieval = {**STUDY["retrievals"][0], "reducers": ["none", {"pca": {"size": 4}}]}
    study = Study.model_validate(
        {**STUDY, "models": {**STUDY["models"], "large": large}, "retrievals": [retrieval], "figures": {}}
    )
    rankings = []
    of = (("small", "none", "cosine"), ("small", "pca-size4", "cosine"), ("large", "none", "hamming"))
    for model, reducer, distance in of:
        ranking = store.read_ranking(next(p for p in finished.material.rankings if p.name == "small-cosine.h5"))
        settings = ranking.record["settings"]
        key = {**settings["key"], "model": model, "reducer": reducer, "distance": distance}
        rankings.append(tmp_path / f"{model}-{reducer}.h5")
        store.write_ranking(
            rankings[-1], replace(ranking, record={**ranking.record, "settings": {**settings, "key": key}})
        )
    material = Material(rankings=tuple(rankings), images=finished.material.images)
    chosen = {"distance": "cosine", "top": 3, "classes": [STUDY["datasets"]["toys"]["categories"][1]]}
    words, texts = drawn(study, material, tmp_path, "contact_sheet", reducers=["none", "pca-size4"], **chosen)
    assert [text for text in texts if text in {"small", "PCA 4", "large"}] == ["small", "PCA 4", "large"]
    assert "nearest 3 by cosine distance, bits by Hamming distance" in texts
    assert "searched by cosine distance." in words
    # One reducer is named apart, and of learned codes there is none.
    words, texts = drawn(study, material, tmp_path, "contact_sheet", reducer="pca-size4", **chosen)
    assert [text for text in texts if text in {"small", "large"}] == ["small", "large"]
    assert "reducer pca-size4" in words


# Mistakes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("by_size", {"methods": ["pac"]}, r"methods: unknown method 'pac'\. Did you mean 'pca'"),
        ("by_size", {"retrieval": "toys"}, "'toys-reduced'"),
        ("by_size", {"distance": "cosine"}, "'cosine'"),
        ("by_option", {"method": "umpa", "option": "share"}, "method: unknown method 'umpa'"),
        ("by_option", {"method": "pca", "option": "share"}, "no two pca reducers of the study differ in share alone"),
        ("by_option", {"method": "umap"}, "'option'"),
        ("heat_map", {"method": "umap", "across": "n_neighbors", "up": "spread"}, "n_neighbors and spread alone"),
        (
            "heat_map",
            {"method": "umap", "across": "n_neighbors", "up": "min_dist", "defaults": {"share": 1}},
            "defaults: share is none of the options shown",
        ),
        ("class_bars", {"reducers": ["pca-size63"]}, r"reducers: unknown reducer 'pca-size63'\. Did you mean"),
        ("class_bars", {"reducer": "none", "reducers": ["none"]}, "both `reducer` and `reducers`"),
        ("contact_sheet", {"reducers": ["umap"]}, "unknown reducer 'umap'"),
    ],
)
def test_a_figure_of_codes_that_cannot_be_drawn_is_refused_before_the_run(study, kind, options, message):
    with pytest.raises(InputError, match=message):
        validate_figure(Figure(title="t", kind=kind, options=options), study)


def planned(figure, cost):
    section = {"f": {"title": "F", **figure}}
    study = coded_study(figures=section)
    retrievals = [r.model_copy(update={"cost": cost}) for r in study.retrievals]
    study = study.model_copy(update={"retrievals": retrievals})
    learning = {
        (name, "instances"): Learning([], [], uses_logits=True, uses_embeddings=False, smallest_batch=1)
        for name in study.models
    }
    widths = dict.fromkeys(study.models, 2048)
    planning._check_names(Plan("s", "s", study, study, Settings(), {}, learning=learning, widths=widths))


def test_costs_are_shown_where_they_are_measured():
    options = {"retrieval": "toys-reduced"}
    for figure in (
        {"kind": "trade_off", "options": options},
        {"kind": "by_size", "options": {**options, "metrics": ["map", "memory"]}},
    ):
        planned(figure, cost=True)
        with pytest.raises(ConfigError, match=r"cost: true|nothing computes query_time|unknown metric 'memory'"):
            planned(figure, cost=False)


@pytest.mark.parametrize("scale", ["full", "quick"])
def test_the_heat_maps_of_the_sbir_study_have_no_empty_cell(scale):
    study = read_study("sbir", Settings(scale=scale))
    drawn = [figure.options for figure in study.figures.values() if figure.kind == "heat_map"]
    assert len(drawn) == 2
    for options in drawn:
        names = reducer_names(study)
        pairs = set(varied(options["method"], [options["across"], options["up"]], options["defaults"], names).values())
        across, up = (sorted({pair[axis] for pair in pairs}) for axis in (0, 1))
        assert pairs == {(x, y) for x in across for y in up}
        assert {15.0, 5.0} <= set(across)
        assert 0.1 in up
