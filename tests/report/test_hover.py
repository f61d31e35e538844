"""Plots that answer when pointed at: their data against the metrics, and their form against plotly's own checks."""

import json
import re

import numpy as np
import pytest
from plotly.graph_objects import Figure as Plot
from trazo import store
from trazo.report.drawing import PALETTE, house_style, new_canvas
from trazo.report.figures import render_figure
from trazo.report.hover import plot_of, tell
from trazo.report.kinds.matrices import confusion_matrix

from .conftest import CLASSES, STUDY, toy_value

PICTURES = {"sheet", "predictions"}


@pytest.fixture(scope="module")
def plots(finished, tmp_path_factory):
    folder, found = tmp_path_factory.mktemp("plots"), {}
    for name, figure in finished.study.figures.items():
        files = {end: folder / f"{name}.{end}" for end in ("svg", "png")}
        render_figure(
            figure=figure, study=finished.study, material=finished.material, plot=folder / f"{name}.json", **files
        )
        found[name] = json.loads((folder / f"{name}.json").read_text())
    return found


@pytest.mark.parametrize("name", STUDY["figures"])
def test_all_but_pictures_are_plots_that_plotly_takes(plots, name):
    plot = plots[name]
    assert (plot == {}) == (name in PICTURES)
    if plot:
        # Colours of the theme are filled in by the page.
        text = re.sub(r"var\(--[a-z0-9]+\)", "#0072b2", json.dumps({"data": plot["data"], "layout": plot["layout"]}))
        Plot(json.loads(text))
        assert plot["width"] > 200
        assert plot["height"] > 100


def test_bars_have_the_values_of_the_metrics_and_words_with_their_intervals(plots):
    bars = [trace for trace in plots["bars"]["data"] if trace["type"] == "bar"]
    assert len(bars) == 4
    # Panels in the order of distances, in each a trace a model, in each a bar a class.
    for trace, (distance, model) in zip(bars, [(d, m) for d in ("euclidean", "cosine") for m in ("small", "large")]):
        assert trace["legendgroup"] == model
        expected = [100 * toy_value(model, distance, i) for i in range(len(CLASSES))]
        assert trace["x"] == pytest.approx(expected)
    assert "mAP 20.0 % (15.0–25.0)" in bars[0]["hovertext"][0]


def test_names_hold_no_markup(plots):
    for name in ("bars", "confusion"):
        text = json.dumps(plots[name], ensure_ascii=False)
        assert "&lt;b&gt;" in text
        assert not re.search(r'wasp\\" <b>', text)


def test_lines_are_where_the_metrics_are(plots):
    lines = [t for t in plots["curve"]["data"] if t["type"] == "scatter" and t["mode"].startswith("lines")]
    assert len(lines) == 4
    for line in lines:
        assert line["x"] == pytest.approx([10 * i for i in range(11)])
        assert line["y"] == pytest.approx([100 - 5 * i for i in range(11)])
        assert line["text"][3].endswith("Precision 85.0 % at recall 30 %")
    assert {line["line"]["color"] for line in lines} == {"var(--c1)", "var(--c2)"}


def test_matrices_say_what_is_taken_for_what(plots, finished):
    heats = [t for t in plots["confusion"]["data"] if t["type"] == "heatmap"]
    counts, true, taken = confusion_matrix(store.read_features(finished.material.features[0]))
    row, column = map(int, np.argwhere(counts)[0])
    share = 100 * counts[row, column] / counts[row].sum()
    words = heats[0]["hovertext"][row][column].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    assert words.endswith(f": {counts[row, column]} ({share:.1f} % of {true[row]})".replace("\n", "<br>"))
    assert taken[column].split("\n")[0] in words
    assert np.array(heats[0]["z"], float) == pytest.approx(counts / counts.sum(axis=1, keepdims=True), abs=1e-4)
    empty = np.argwhere(counts == 0)
    assert all(heats[0]["hovertext"][r][c] == "" for r, c in empty.tolist())


def drawn(draw):
    with house_style("test"):
        canvas = new_canvas(4, 3)
        axes = canvas.add_subplot()
        draw(axes)
        canvas.draw_without_rendering()
        return plot_of(canvas)


def test_scales_keep_their_look():
    def draw(axes):
        (line,) = axes.plot([1, 10, 100], [0.5, 1, 2], color=PALETTE[0])
        axes.set_xscale("log")
        axes.set_xlim(1, 100)
        tell(line, "one")

    plot = drawn(draw)
    assert plot["data"][0]["x"] == pytest.approx([0, 1, 2])
    axis = plot["layout"]["xaxis"]
    assert axis["range"] == pytest.approx([0, 2])
    assert axis["tickvals"] == pytest.approx([0, 1, 2])
    assert "tickvals" not in plot["layout"]["yaxis"]


def test_lines_of_one_name_and_look_are_one_trace_with_gaps_and_levels_cross_the_panel():
    def draw(axes):
        for height in (1, 2):
            (line,) = axes.plot([0, 1], [height, height], color=PALETTE[1])
            tell(line, "twice", [f"at {height}"] * 2)
        axes.plot([0, 1], [3, 3], color=PALETTE[1])
        tell(axes.axhline(1.5), "level", ["level"] * 2)
        axes.set_xlim(-1, 4)

    traces = {t["legendgroup"]: t for t in drawn(draw)["data"]}
    assert traces["twice"]["x"] == [0, 1, None, 0, 1]
    assert traces["twice"]["text"] == ["<b>twice</b><br>at 1"] * 2 + [""] + ["<b>twice</b><br>at 2"] * 2
    assert traces[""]["hoverinfo"] == "skip"
    assert traces["level"]["x"] == [-1, 4]
    assert traces["level"]["y"] == [1.5, 1.5]


def test_a_canvas_that_nothing_was_told_of_is_no_plot():
    assert drawn(lambda axes: axes.plot([0, 1], [0, 1])) == {}


def test_very_large_matrices_stay_pictures():
    def draw(axes, side):
        image = axes.imshow(np.zeros((side, side)))
        tell(image, "m", [[""] * side] * side)

    assert drawn(lambda axes: draw(axes, 150))["data"][0]["type"] == "heatmap"
    assert drawn(lambda axes: draw(axes, 151)) == {}
