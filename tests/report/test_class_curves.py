"""Figures of study 5: precision and recall by class, confusions of first neighbours, random queries, rankers."""

from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import accuracy_score, precision_recall_curve
from trazo import store
from trazo.config import Figure, Study
from trazo.errors import InputError
from trazo.report.drawing import Material
from trazo.report.figures import render_figure, validate_figure
from trazo.report.kinds.class_curves import label_corners

SCENES = ["coast", "forest", "highway", "inside_city", "mountain", "Opencountry", "street", "tallbuilding"]
RANKERS = ("exact", "faiss_flat")
MODELS = ("one", "two")


def study_of(classes, **retrieval):
    stage = {"name": "train", "data": "scenes/train", "epochs": 1, "optimizer": {"adam": {"lr": 0.1}}}
    model = {"architecture": "resnet18", "feature": "pool", "stages": [stage]}
    asked = {
        "name": "search", "models": list(MODELS), "queries": "scenes/test", "gallery": "scenes/train",
        "metrics": ["p@1", "p@5", "recall@1", "recall@5"], "rankers": list(RANKERS), "top": 5, **retrieval,
    }  # fmt: skip
    return Study.model_validate(
        {
            "title": "T",
            "datasets": {
                "scenes": {"categories": classes, "split": {"train": 4, "test": 4}, "size": 16, "channels": 3}
            },
            "models": dict.fromkeys(MODELS, model),
            "retrievals": [asked],
        }
    )


def ranking_of(model, ranker, classes, queries, gallery, depth=5):
    draw = np.random.default_rng([MODELS.index(model), RANKERS.index(ranker)])
    labels, other = np.arange(queries) % len(classes), np.arange(gallery) % len(classes)
    where = np.stack([draw.permutation(gallery)[:depth] for _ in range(queries)])
    right = draw.random(where.shape) < 0.6
    step = len(classes) * draw.integers(0, gallery // len(classes), where.shape)
    where = np.where(right, labels[:, None] + step, where)
    key = {"retrieval": "search", "model": model, "stage": "train", "epoch": 1, "seed": 0, "distance": "euclidean"}
    key["reducer"] = "none"
    return store.RankingArtifact(
        metrics=["map"], values=draw.random((queries, 1)), evaluated=np.ones(queries, bool),
        relevant=np.full(queries, 4), top_indices=where, top_distances=np.sort(draw.random(where.shape), axis=1),
        query_labels=labels, gallery_labels=other, query_ids=[f"q{i}" for i in range(queries)],
        gallery_ids=[f"g{i}" for i in range(gallery)], classes=list(classes),
        record={"step": "rank", "settings": {"key": {**key, "ranker": ranker}}},
    )  # fmt: skip


def made(folder, classes=SCENES, queries=80, gallery=160):
    """Write rankings of two models by two rankers, colour photos of both sides, and metrics by class."""
    rankings, rows = [], []
    for model in MODELS:
        for ranker in RANKERS:
            ranking = ranking_of(model, ranker, classes, queries, gallery)
            rankings.append(folder / f"{model}-{ranker}.h5")
            store.write_ranking(rankings[-1], ranking)
            hit = ranking.gallery_labels[ranking.top_indices] == ranking.query_labels[:, None]
            for position, name in enumerate(classes):
                mine = hit[ranking.query_labels == position]
                for k in (1, 5):
                    values = {f"p@{k}": mine[:, :k].mean(), f"recall@{k}": mine[:, :k].sum(1).mean() / 20}
                    rows += [
                        {"study": "s", "dataset": "search", "model": model, "stage": "train", "epoch": 1, "seed": 0,
                         "ranker": ranker, "distance": "euclidean", "metric": metric, "class": name,
                         "average": "queries", "value": float(value)}
                        for metric, value in values.items()
                    ]  # fmt: skip
    store.write_metrics(folder / "metrics.csv", rows)
    images = []
    for split, count in (("test", queries), ("train", gallery)):
        pixels = np.zeros((count, 16, 16, 3), np.uint8)
        pixels[..., 0], pixels[..., 1] = 250, (np.arange(count) * 7 % 200)[:, None, None]
        images.append(folder / f"{split}.h5")
        record = {"step": "images", "settings": {"key": {"dataset": "scenes", "split": split}}}
        store.write_images(
            images[-1], [pixels], shape=pixels.shape, labels=np.arange(count) % len(classes),
            ids=[f"{split}{i}" for i in range(count)], classes=list(classes), record=record,
        )  # fmt: skip
    return Material(metrics=folder / "metrics.csv", rankings=tuple(rankings), images=tuple(images))


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    return made(tmp_path_factory.mktemp("scenes"))


def drawn(folder, study, material, kind, **options):
    svg = folder / "figure.svg"
    figure = Figure(title="T", kind=kind, options=options)
    render_figure(figure=figure, study=study, material=material, svg=svg, png=folder / "figure.png")
    root = ElementTree.parse(svg).getroot()
    words = root.findtext(".//{http://purl.org/dc/elements/1.1/}description")
    return words, ["".join(e.itertext()) for e in root.iter("{http://www.w3.org/2000/svg}text")]


@pytest.mark.parametrize("k", [1, 3, 5])
def test_corners_are_those_of_scikit_learns_curve_of_hard_predictions(scenes, k):
    ranking = store.read_ranking(scenes.rankings[0])
    found = ranking.gallery_labels[ranking.top_indices[:, :k]].ravel()
    true = np.repeat(ranking.query_labels, k)
    corners = label_corners(ranking, k)
    assert list(corners) == SCENES
    for position, name in enumerate(SCENES):
        precision, recall, _ = precision_recall_curve(true == position, (found == position).astype(int))
        # scikit-learn's points: all predicted, those predicted, none.
        assert corners[name] == pytest.approx((recall[1], precision[1], precision[0]))


def test_fewer_items_than_asked_for_are_told(scenes):
    with pytest.raises(InputError, match="6 nearest items are asked for, and 5 were kept"):
        label_corners(store.read_ranking(scenes.rankings[0]), 6)


def test_curves_of_labels_have_a_panel_a_model_ranker_and_k(scenes, tmp_path):
    words, texts = drawn(tmp_path, study_of(SCENES), scenes, "precision_recall", of="labels", ks=[1, 5])
    titles = [f"{m} · {r}, k = {k}" for m in MODELS for r in RANKERS for k in (1, 5)]
    assert [text for text in texts if "k = " in text] == titles
    assert [text for text in texts if text in SCENES] == SCENES
    corners = label_corners(store.read_ranking(scenes.rankings[1]), 5)
    recall, precision, _ = max(corners.values(), key=lambda corner: corner[1])
    told = f"one · faiss_flat, k = 5: best {next(n for n in corners if corners[n][1] == precision)} "
    assert f"{told}(precision {100 * precision:.1f} %, recall {100 * recall:.1f} %)" in words


def test_depths_are_read_from_the_metrics_of_each_class(scenes, tmp_path):
    words, texts = drawn(
        tmp_path, study_of(SCENES), scenes, "precision_recall", ks=[5, 1], rankers=["exact"], classes=SCENES[:2]
    )
    assert [text for text in texts if "·" in text] == ["one · exact", "two · exact"]
    assert [text for text in texts if text in SCENES] == SCENES[:2]
    assert words.startswith("Mean precision and recall of the first k items, k = 1, 5, by class. one · exact, k = 1, 5")
    rows = [m for m in (scenes.metrics).read_text().splitlines() if ",one," in m and ",exact," in m]
    p5 = {row.split(",")[13]: 100 * float(row.split(",")[17]) for row in rows if ",p@5," in row}
    assert any(f"{name} (precision {p5[name]:.1f} %" in words for name in SCENES[:2])


def test_of_a_hundred_classes_the_best_and_the_worst_have_a_colour(tmp_path):
    classes = [f"class {i:03}" for i in range(100)]
    material = made(tmp_path, classes, queries=300, gallery=300)
    _, texts = drawn(tmp_path, study_of(classes), material, "precision_recall", of="labels", ks=[1, 5])
    assert sum(text in classes for text in texts) == 8
    assert "92 other classes" in texts


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ks": [0, 3]}, "0 is no number of nearest items"),
        ({"ks": [1, 9], "of": "labels"}, "search keeps lists of 5 items, and 9 are asked for; raise its `top`"),
        ({"ks": [1, 3]}, r"it shows p@3, recall@3, which nothing computes; add them to the retrieval's `metrics`"),
        ({"rankers": ["faiss_flt"]}, "rankers: unknown ranker 'faiss_flt'.*'faiss_flat'"),
        ({"of": "chance"}, "'of'.*'chance'"),
        ({"ks": []}, "'ks'"),
    ],
)
def test_curves_that_nothing_can_give_are_refused_before_the_run(options, message):
    computed = {"p@1", "p@5", "recall@1", "recall@5"}
    with pytest.raises(InputError, match=message):
        validate_figure(
            Figure(title="T", kind="precision_recall", options={"ks": [1, 5], **options}), study_of(SCENES), computed
        )


@pytest.mark.parametrize("ranker", RANKERS)
def test_first_neighbours_are_counted_without_votes_and_a_classifier(scenes, tmp_path, ranker):
    words, texts = drawn(tmp_path, study_of(SCENES), scenes, "knn_confusion", models=["two"], ranker=ranker)
    ranking = store.read_ranking(next(p for p in scenes.rankings if p.stem == f"two-{ranker}"))
    nearest = ranking.gallery_labels[ranking.top_indices[:, 0]]
    right = accuracy_score(ranking.query_labels, nearest)
    assert f"two: accuracy {100 * right:.1f} %" in texts
    assert words.startswith(f"Each query's nearest item decides, ranker {ranker}. two: {100 * right:.1f} % right")
    pairs, counts = np.unique(np.stack([ranking.query_labels, nearest]), axis=1, return_counts=True)
    numbers = sorted(int(text) for text in texts if text.isdigit())
    assert numbers == sorted(counts.tolist())
    # Ten queries a class.
    assert sum(text.endswith(" %") and ":" not in text for text in texts) == len(counts) == pairs.shape[1]
    assert sum(text == "10 %" or text == "10.0 %" for text in texts) == (counts == 1).sum()


def test_percentages_are_of_the_class_or_of_all(scenes, tmp_path):
    for share, unit in (("class", "% of the true class"), ("all", "% of all items")):
        _, texts = drawn(tmp_path, study_of(SCENES), scenes, "knn_confusion", models=["one"], share=share)
        assert f"taken for (counts, and {unit})" in texts
        found = [float(text.removesuffix(" %")) for text in texts if text.endswith(" %") and ":" not in text]
        assert sum(found) == pytest.approx(800 if share == "class" else 100, abs=0.05 * len(found))


@pytest.mark.parametrize(("count", "numbered"), [(30, True), (31, False)])
def test_more_than_thirty_classes_have_no_numbers(tmp_path, count, numbered):
    classes = [f"class {i:03}" for i in range(count)]
    material = made(tmp_path, classes, queries=90, gallery=count * 4)
    _, texts = drawn(tmp_path, study_of(classes), material, "knn_confusion", models=["one"])
    assert (sum(text.endswith(" %") and ":" not in text for text in texts) > count / 2) == numbered
    assert all(texts.count(name) == 2 for name in classes)


def test_a_vote_of_several_that_was_not_held_is_refused_before_the_run():
    figure = Figure(title="T", kind="knn_confusion", options={"neighbours": 5})
    with pytest.raises(InputError, match=r"5 neighbours do not vote there \(votes: 1, 3\); add 5"):
        validate_figure(figure, study_of(SCENES, votes=[1, 3]))
    for votes, options in (([5], {"neighbours": 5}), ([], {"neighbours": 1}), ([], {})):
        validate_figure(Figure(title="T", kind="knn_confusion", options=options), study_of(SCENES, votes=votes))


def test_random_queries_are_drawn_by_seed_and_marked_right_or_wrong(scenes, tmp_path):
    def shown(**options):
        options = {"pick": "random", "count": 6, "top": 3, "models": ["one"], **options}
        words, texts = drawn(tmp_path, study_of(SCENES), scenes, "contact_sheet", **options)
        return words, [text for text in texts if text in SCENES], texts

    words, queries, texts = shown()
    assert len(queries) == 6
    assert words.startswith("Queries are drawn at random, searched ranker exact. one, a ")
    assert shown()[1:] == (queries, texts)
    assert shown(seed=1)[2] != texts
    ranking = store.read_ranking(scenes.rankings[0])
    expected = np.random.default_rng(0).permutation(80)[:6]
    assert queries == [SCENES[ranking.query_labels[q]] for q in expected]
    right = ranking.gallery_labels[ranking.top_indices[expected, :3]] == ranking.query_labels[expected, None]
    assert sum(text.startswith("✓") for text in texts) == right.sum()
    assert sum(text.startswith("✗") for text in texts) == (~right).sum()
    assert set(shown(classes=["forest"])[1]) == {"forest"}


def test_a_sheet_shows_the_ranker_asked_for_in_the_photos_colours(scenes, tmp_path):
    options = {"pick": "random", "count": 2, "top": 3, "models": ["two"]}
    for ranker in RANKERS:
        _, texts = drawn(tmp_path, study_of(SCENES), scenes, "contact_sheet", ranker=ranker, **options)
        ranking = store.read_ranking(next(p for p in scenes.rankings if p.stem == f"two-{ranker}"))
        queries = np.random.default_rng(0).permutation(80)[:2]
        assert {f"{d:.3g}" for d in ranking.top_distances[queries, :3].ravel()} <= set(texts)
        assert f"nearest 3 by euclidean distance, {ranker}" in texts
    with Image.open(tmp_path / "figure.png") as picture:
        colours = {c[:3] for _, c in picture.convert("RGB").getcolors(1 << 20)}
    hits = ranking.top_indices[queries, :3].ravel()
    assert {(250, int(i * 7 % 200), 0) for i in hits} <= colours


@pytest.mark.parametrize("kind", ["confusion", "predictions", "confused_pairs"])
def test_predictions_that_no_classifier_makes_are_refused_before_the_run(kind):
    study = study_of(SCENES)
    figure = Figure(title="T", kind=kind)
    with pytest.raises(InputError, match="one, two predict nothing on the queries of a retrieval: no classifier"):
        validate_figure(figure, study, set(), {})
    validate_figure(figure, study, set(), {"two": ["scenes/test"]})
    named = Figure(title="T", kind=kind, options={"models": ["one", "two"]})
    with pytest.raises(InputError, match="and one predicts nothing"):
        validate_figure(named, study, set(), {"two": ["scenes/test"]})
    split = Figure(title="T", kind=kind, options={"dataset": "scenes/train"})
    with pytest.raises(InputError, match="nothing on scenes/train"):
        validate_figure(split, study, set(), {"two": ["scenes/test"]})
