import re
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.lines import Line2D
from PIL import Image
from sklearn.metrics import confusion_matrix as peer_confusion
from trazo import store
from trazo.config import Figure, Study, read_settings, read_study
from trazo.errors import InputError
from trazo.report.drawing import Material, colour_of, house_style, legend_above, mark_of, new_canvas
from trazo.report.figures import figure_kinds, render_figure, validate_figure
from trazo.report.kinds.matrices import confusion_matrix, vote_matrix
from trazo.report.kinds.sheets import probabilities

from .conftest import CLASSES, MODELS, STUDY, measure

LIBRARY = Path(__file__).parents[2] / "workflow"


def _draw(finished, name, folder, **options):
    figure = finished.study.figures[name]
    figure = figure.model_copy(update={"options": {**figure.options, **options}})
    svg, png = folder / f"{name}.svg", folder / f"{name}.png"
    render_figure(figure=figure, study=finished.study, material=finished.material, svg=svg, png=png)
    return svg, png


def _texts(svg):
    return ["".join(e.itertext()) for e in ElementTree.parse(svg).iter("{http://www.w3.org/2000/svg}text")]


def test_control_characters_in_a_caption_leave_the_svg_readable(finished, tmp_path):
    figure = finished.study.figures["bars"].model_copy(update={"title": "Bars \x01 \x1b[2J"})
    svg = tmp_path / "bars.svg"
    render_figure(figure=figure, study=finished.study, material=finished.material, svg=svg, png=svg.with_suffix(".png"))
    assert "Bars � �[2J" in ["".join(e.itertext()) for e in ElementTree.parse(svg).iter() if e.tag.endswith("title")]


def test_reading_the_kinds_loads_no_plotting_library():
    script = (
        "import sys, trazo.report.figures as f; assert f.figure_kinds.names();"
        "print([m for m in ('matplotlib', 'pandas', 'torch', 'PIL') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=LIBRARY, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", STUDY["figures"])
def test_every_kind_draws_svg_and_png(finished, tmp_path, name):
    svg, png = _draw(finished, name, tmp_path)
    assert ElementTree.parse(svg).getroot().tag.endswith("svg")
    with Image.open(png) as picture:
        extremes = picture.convert("L").getextrema()
    assert extremes[0] < 100
    assert extremes[1] > 240


@pytest.mark.parametrize("name", ["sheet", "bars"])
def test_the_same_material_gives_the_same_bytes(finished, tmp_path, name):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    for first, second in zip(_draw(finished, name, tmp_path / "a"), _draw(finished, name, tmp_path / "b")):
        assert first.read_bytes() == second.read_bytes()


def test_a_contact_sheet_marks_hits_by_sign_as_well_as_colour(finished, tmp_path):
    svg, _ = _draw(finished, "sheet", tmp_path, top=4, pick="first", distance="cosine")
    ranking = store.read_ranking(next(p for p in finished.material.rankings if p.name == "small-cosine.h5"))
    first = [int(np.flatnonzero(ranking.query_labels == c)[0]) for c in range(len(CLASSES))]
    right = sum(
        int((ranking.gallery_labels[ranking.top_indices[q, :4]] == ranking.query_labels[q]).sum()) for q in first
    )
    texts = _texts(svg)
    # Both models have the same toy ranking.
    assert sum(text.startswith("✓") for text in texts) == right * len(MODELS)
    assert sum(text.startswith("✗") for text in texts) == (4 * len(CLASSES) - right) * len(MODELS)


def test_the_worst_queries_are_those_of_least_average_precision(finished, tmp_path):
    options = {"pick": "worst", "classes": [CLASSES[0]], "models": ["small"], "distance": "cosine", "top": 1}
    svg, _ = _draw(finished, "sheet", tmp_path, **options)
    ranking = store.read_ranking(next(p for p in finished.material.rankings if p.name == "small-cosine.h5"))
    rows = np.flatnonzero(ranking.query_labels == 0)
    worst = rows[ranking.values[rows, 0].argmin()]
    assert f"{ranking.top_distances[worst, 0]:.3g}" in _texts(svg)


def test_a_figure_says_in_words_what_it_shows(finished, tmp_path):
    svg, _ = _draw(finished, "curve", tmp_path)
    words = ElementTree.parse(svg).getroot().findtext(".//{http://purl.org/dc/elements/1.1/}description")
    assert "small, cosine: 75.0 % at recall 0.5" in words


def test_published_values_are_marked_only_where_given(finished, tmp_path):
    svg, _ = _draw(finished, "bars", tmp_path)
    assert "published" in _texts(svg)
    unpublished = Material(metrics=finished.material.metrics)
    render_figure(
        figure=finished.study.figures["bars"], study=finished.study, material=unpublished, svg=svg,
        png=tmp_path / "bars.png",
    )  # fmt: skip
    assert "published" not in _texts(svg)


def test_with_many_classes_only_the_best_and_the_worst_are_shown(finished, tmp_path):
    svg, _ = _draw(finished, "bars", tmp_path, limit=2, distances=["cosine"])
    texts = _texts(svg)
    assert 'bee & "wasp" <b>' in texts
    assert "a|b_c%d" not in texts
    assert "new line $x$" in texts


def test_counts_of_confusions_are_those_of_scikit_learn(finished):
    features = store.read_features(finished.material.features[0])
    counts, true, predicted = confusion_matrix(features)
    assert np.array_equal(counts, peer_confusion(features.labels, features.logits.argmax(axis=1)))
    assert true == predicted == CLASSES


def test_probabilities_survive_large_logits():
    assert probabilities(np.array([1000.0, 1000.0, -1000.0])) == pytest.approx([0.5, 0.5, 0.0])


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("contact_shet", {}, "contact_sheet"),
        ("contact_sheet", {"tops": 3}, "'top'"),
        ("contact_sheet", {"classes": ["wasp"]}, "wasp"),
        ("contact_sheet", {"top": "many"}, "'top'.*'many'"),
        ("contact_sheet", {"distance": "cosin"}, "'cosine'"),
        ("recall_precision", {"models": ["smal"]}, "'small'"),
        ("recall_precision", {"retrieval": "toys"}, "'toys-test'"),
        ("predictions", {"dataset": "toys/tst"}, "'toys/test'"),
    ],
)
def test_a_figure_that_cannot_be_drawn_is_refused_before_the_run(toy_study, kind, options, message):
    with pytest.raises(InputError, match=message) as caught:
        validate_figure(Figure(title="Nice", kind=kind, options=options), toy_study)
    assert "figure 'Nice'" in str(caught.value)


@pytest.mark.parametrize(
    ("options", "metrics", "message"),
    [
        ({}, ["map", "precision_at_recall@0.1"], ""),
        ({"interpolated": True}, ["interpolated_precision@0.1"], ""),
        ({}, ["map"], r"toys-test does not give recall_precision; add it to its `metrics`\.$"),
        ({}, ["interpolated_precision@0.1"], "does not give recall_precision; .*or say `interpolated: true`"),
        ({"interpolated": True}, ["precision_at_recall@0.1"], "recall_precision_interpolated.*`interpolated: false`"),
    ],
)
def test_curves_need_the_metric_that_they_are_drawn_of(toy_study, options, metrics, message):
    figure = Figure(title="Nice", kind="recall_precision", options={"retrieval": "toys-test", **options})
    with pytest.raises(InputError, match=message) if message else nullcontext():
        validate_figure(figure, toy_study, metrics, None, {"toys-test": metrics})


def test_missing_material_is_named(finished, tmp_path):
    with pytest.raises(InputError, match="needs rankings and images"):
        render_figure(
            figure=finished.study.figures["sheet"], study=finished.study, material=Material(),
            svg=tmp_path / "a.svg", png=tmp_path / "a.png",
        )  # fmt: skip


def test_material_of_an_unknown_kind_is_refused():
    with pytest.raises(InputError, match="'rankings'"):
        Material.from_paths({"ranking": ["a.h5"]})
    with pytest.raises(InputError, match="one metrics file, got 2"):
        Material.from_paths({"metrics": ["a.csv", "b.csv"]})


@pytest.mark.parametrize("name", ["animals", "demo"])
def test_figures_of_the_studies_here_can_be_drawn(name):
    study = read_study(name, read_settings({"studies": [name]}))
    for figure in study.figures.values():
        validate_figure(figure, study)
        assert figure_kinds.get(figure.kind).needs


def test_no_figure_names_a_version_or_a_date(finished, tmp_path):
    svg, _ = _draw(finished, "bars", tmp_path)
    assert not re.search(r"matplotlib v|20\d\d-\d\d-\d\d", svg.read_text(), re.IGNORECASE)


def test_bars_of_accuracy_show_the_split_of_the_chosen_retrieval(tmp_path):
    toys = {**STUDY["datasets"]["toys"], "split": {"train": 8, "test": 4, "hard": 4}}
    retrievals = [
        {"name": name, "models": ["small"], "queries": f"toys/{split}", "gallery": "toys/train"}
        for name, split in (("easy", "test"), ("difficult", "hard"))
    ]
    study = Study.model_validate(
        {**STUDY, "datasets": {"toys": toys}, "retrievals": retrievals, "published": None, "tables": {}, "figures": {}}
    )
    rows = [
        measure(dataset=f"toys-{split}", model="small", metric="accuracy", **{"class": name}, value=value)
        for split, value in (("test", 0.9), ("hard", 0.3))
        for name in CLASSES
    ]
    store.write_metrics(tmp_path / "m.csv", rows)
    for retrieval, value in (("", 90), ("easy", 90), ("difficult", 30)):
        figure = Figure(title="t", kind="class_bars", options={"metric": "accuracy", "retrieval": retrieval})
        svg = tmp_path / "bars.svg"
        render_figure(
            figure=figure, study=study, material=Material(metrics=tmp_path / "m.csv"), svg=svg, png=tmp_path / "b.png"
        )
        words = ElementTree.parse(svg).getroot().findtext(".//{http://purl.org/dc/elements/1.1/}description")
        assert re.findall(r"\d+\.\d", words) == [f"{value}.0"] * 2


@pytest.mark.parametrize("name", ["bars", "sheet"])
def test_figures_need_neither_the_studys_title_nor_its_description(finished, tmp_path, name):
    blank = finished.study.model_copy(update={"title": "", "description": ""})
    (tmp_path / "blank").mkdir()
    svg, png = _draw(finished, name, tmp_path)
    render_figure(
        figure=finished.study.figures[name], study=blank, material=finished.material,
        svg=tmp_path / "blank" / svg.name, png=tmp_path / "blank" / png.name,
    )  # fmt: skip
    for file in (svg, png):
        assert (tmp_path / "blank" / file.name).read_bytes() == file.read_bytes()


def test_votes_are_counted_by_class_and_queries_without_one_are_left_out(finished):
    ranking = store.read_ranking(finished.material.rankings[0])
    counts, true, predicted = vote_matrix(ranking, 1)
    nearest = ranking.gallery_labels[ranking.top_indices[:, 0]]
    np.testing.assert_array_equal(counts, peer_confusion(ranking.query_labels, nearest))
    assert true == predicted == CLASSES
    counts, _, predicted = vote_matrix(ranking, 3)
    assert counts.tolist() == [[0, 0, 0], [0, 0, 4], [0, 0, 4]]
    assert predicted == CLASSES


def test_votes_name_distance_and_ranker_where_there_are_several(finished, tmp_path):
    def words(**changes):
        study = Study.model_validate({**STUDY, "retrievals": [{**STUDY["retrievals"][0], **changes}]})
        figure = study.figures["votes"]
        files = {end: tmp_path / f"votes.{end}" for end in ("svg", "png")}
        render_figure(figure=figure, study=study, material=finished.material, **files)
        return files["svg"].read_text()

    assert "Each query's nearest item decides. small" in words(distances=["euclidean"])
    assert "nearest item decides, by euclidean distance. " in words()
    rankers = ["exact", "faiss_flat"]
    assert "nearest item decides, by euclidean distance, ranker " in words(rankers=rankers)


def test_a_vote_that_was_not_held_is_named(finished, tmp_path):
    with pytest.raises(InputError, match=r"5 neighbours do not vote there \(votes: 1, 3\)"):
        _draw(finished, "votes", tmp_path, neighbours=5)


@pytest.mark.parametrize("width", [3.0, 5.0, 9.0])
@pytest.mark.parametrize("count", [1, 4, 11])
def test_a_legend_is_as_wide_as_the_picture_allows_and_no_wider(width, count):
    with house_style(""):
        canvas = new_canvas(width, 4.0)
        canvas.add_subplot().plot([0, 1])
        legend_above(canvas, [Line2D([], [], label=f"resnet50-triplet-{i}") for i in range(count)])
        FigureCanvasAgg(canvas).draw()
    ((legend,),) = [canvas.legends]
    shown = legend.get_window_extent()
    assert 0 <= shown.x0 < shown.x1 <= canvas.bbox.width
    # One column more would not have fitted.
    columns = len({round(text.get_window_extent().x0) for text in legend.get_texts()})
    assert columns == count or shown.width * (columns + 1) / columns > 0.9 * canvas.bbox.width


def test_lines_of_one_colour_bear_different_marks():
    looks = [(colour_of(i), mark_of(i)) for i in range(24)]
    assert len(set(looks)) == 24
