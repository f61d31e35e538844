"""What planning says of tables and figures that a run will not be able to fill."""

import pytest
from trazo import planning
from trazo.config import ConfigError, Settings, Study, Table
from trazo.errors import InputError
from trazo.plan import Learning, Plan
from trazo.report.tables import validate_table

STAGE = {"name": "train", "data": "toys/train", "epochs": 1, "optimizer": {"adam": {"lr": 0.1}}}
MODEL = {"architecture": "resnet18", "feature": "pool", "stages": [STAGE]}
MODELS = {"classifier": MODEL, "metric": MODEL}
SEARCH = {
    "models": ["classifier", "metric"],
    "queries": "toys/test",
    "gallery": "toys/train",
    "metrics": ["map", "p@5"],
}
STUDY = {
    "title": "T",
    "datasets": {"toys": {"split": {"train": 4, "test": 4}, "categories": ["cat", "duck"]}},
    "models": MODELS,
}


def planned(*, figure=None, table=None, more=(), models=None, maps=None, sampled=(), **search):
    """Return a plan of a network that learns classes and one that learns distances alone, its names checked."""
    searched = {**SEARCH, **search, **({"models": models} if models else {})}
    study = {**STUDY, "retrievals": [searched, *more], "maps": maps or {}}
    stage = {**STAGE, "epochs": 3, "checkpoints": [2], "train_sample": 4}
    study["models"] = MODELS | {name: {**MODEL, "stages": [stage]} for name in sampled}
    study["figures"] = {"f": {"title": "F", **figure}} if figure else {}
    study["tables"] = {"t": {"title": "T", "rows": "metric", "columns": ["model"], **table}} if table else {}
    study = Study.model_validate(study)
    learning = {
        (name, "train"): Learning([], [], uses_logits=name == "classifier", uses_embeddings=False, smallest_batch=1)
        for name in study.models
    }
    found = Plan("s", "s", study, study, Settings(), {}, learning=learning, widths=dict.fromkeys(study.models, 512))
    planning._check_names(found)
    return found


@pytest.mark.parametrize("kind", ["confusion", "predictions", "confused_pairs"])
def test_a_figure_of_predictions_needs_a_classifier_of_its_own(kind):
    planned(figure={"kind": kind})
    planned(figure={"kind": kind, "options": {"models": ["classifier"]}})
    with pytest.raises(ConfigError, match=r"figures\.f: figure 'F': it shows predictions of classifiers, and metric"):
        planned(figure={"kind": kind, "options": {"models": ["metric"]}})
    with pytest.raises(ConfigError, match="classifier, metric predict nothing"):
        planned(figure={"kind": kind}, models=["metric"])
    planned(figure={"kind": "knn_confusion", "options": {"models": ["metric"]}})
    planned(figure={"kind": "confused_pairs", "options": {"models": ["metric"], "by": "neighbour"}})


@pytest.mark.parametrize("metric", ["train_accuracy", "accuracy"])
def test_a_table_of_what_its_models_do_not_have_is_refused(metric):
    planned(table={"metrics": [metric]})
    planned(table={"metrics": [metric], "where": {"model": ["classifier", "metric"]}})
    planned(table={"metrics": ["train_loss", "map", "p@5"], "where": {"model": ["metric"]}})
    with pytest.raises(ConfigError, match=rf"tables\.t: {metric} is computed of none of metric"):
        planned(table={"metrics": ["map", metric], "where": {"model": ["metric"]}})
    with pytest.raises(ConfigError, match="map is computed of none of classifier"):
        planned(table={"metrics": ["map"], "where": {"model": ["classifier"]}}, models=["metric"])
    with pytest.raises(ConfigError, match=f"figures.f: {metric} is computed of none of metric"):
        planned(figure={"kind": "epochs", "options": {"models": ["metric"], "metrics": [metric]}})


def test_votes_give_the_metrics_of_labels():
    metrics = ["knn_accuracy@3", "label_ap@1", "label_ap@1+3"]
    planned(table={"metrics": metrics}, votes=[1, 3])
    with pytest.raises(ConfigError, match=r"unknown metric 'label_ap@1\+3'"):
        planned(table={"metrics": metrics[2:]}, votes=[1, 5])


def test_rankers_are_compared_where_the_exact_one_searched_too():
    assert planned().agreements() == []
    assert planned(rankers=["sklearn", "faiss_flat"]).agreements() == []
    found = planned(rankers=["exact", "faiss_flat"])
    assert found.agreements() == ["results/s/agreement.csv"]
    assert found.rivals_of_exact() == found.rankings()
    assert len(found.rankings()) == 4


# Beside a retrieval with everything, one of another model with little.
LARGE = {
    "name": "large",
    "models": ["classifier"],
    "metrics": ["map", "p@5", "recall@5"],
    "distances": ["euclidean", "cosine"],
    "rankers": ["exact", "sklearn"],
    "reducers": [{"pca": {"size": 4}}],
}
SMALL = {"name": "small", "models": ["metric"], "queries": "toys/test", "gallery": "toys/train", "metrics": ["map"]}


@pytest.mark.parametrize("kind", ["knn_confusion", "contact_sheet", "epochs", "class_bars", "class_extremes"])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"models": ["classifier"]}, "models: 'classifier' is not in the retrieval small, which has metric"),
        ({"ranker": "sklearn"}, "ranker: 'sklearn' is not in the retrieval small, which has exact"),
        ({"reducer": "pca-size4"}, "reducer: 'pca-size4' is not in the retrieval small, which has none"),
        ({"distance": "cosine"}, "distance: 'cosine' is not in the retrieval small, which has euclidean"),
    ],
)
def test_a_figure_of_what_its_retrieval_has_not_is_refused(kind, options, message):
    if kind == "class_bars" and "distance" in options:
        options = {"distances": ["cosine"]}
        message = message.replace("distance:", "distances:")
    reduced = {"reducer": "pca-size4"} if "reducer" not in options else {}
    planned(figure={"kind": kind, "options": {"retrieval": "large", **reduced, **options}}, more=[SMALL], **LARGE)
    with pytest.raises(ConfigError, match=rf"figures\.f: figure 'F': {message}"):
        planned(figure={"kind": kind, "options": {"retrieval": "small", **options}}, more=[SMALL], **LARGE)
    # Named alone, what one retrieval has is shown of that; what none has together is not.
    planned(figure={"kind": kind, "options": options}, more=[SMALL], **LARGE)
    if "models" not in options and "distances" not in options:
        with pytest.raises(ConfigError, match=message):
            planned(figure={"kind": kind, "options": {"models": ["metric"], **options}}, more=[SMALL], **LARGE)


def test_metrics_of_another_retrieval_are_refused():
    figures = {
        "precision_recall": ({"ks": [5]}, "ks: it shows p@5, recall@5, which small does not give"),
        "epochs": ({"metrics": ["accuracy", "p@5"]}, "the retrieval small does not give p@5"),
        "class_bars": ({"metric": "p@5"}, "the retrieval small does not give p@5"),
    }
    for kind, (options, message) in figures.items():
        planned(figure={"kind": kind, "options": {"retrieval": "large", **options}}, more=[SMALL], **LARGE)
        planned(figure={"kind": kind, "options": options}, more=[SMALL], **LARGE)
        with pytest.raises(ConfigError, match=message):
            planned(figure={"kind": kind, "options": {"retrieval": "small", **options}}, more=[SMALL], **LARGE)
    accuracy = {"metrics": ["accuracy", "train_loss"], "retrieval": "small"}
    planned(figure={"kind": "epochs", "options": accuracy}, more=[SMALL], **LARGE)


def test_a_figure_of_maps_shows_the_models_and_maps_it_names():
    maps = {"one": {"models": ["classifier"], "data": "toys/train"}}
    maps["two"] = {"models": ["metric", "classifier"], "data": "toys/train"}
    for options in ({}, {"models": ["metric"]}, {"models": ["metric", "classifier"], "maps": ["one", "two"]}):
        planned(figure={"kind": "embedding_map", "options": options}, maps=maps)
    for options, message in (
        ({"models": ["metric"], "maps": ["one"]}, "maps: one is of classifier, and of none of"),
        ({"models": ["metric"], "maps": ["two", "one"]}, "maps: one is of classifier, and of none of"),
        ({"models": ["metric", "classifier"], "maps": ["one"]}, "models: no map shown is of metric"),
    ):
        with pytest.raises(ConfigError, match=message):
            planned(figure={"kind": "embedding_map", "options": options}, maps=maps)
    del maps["two"]
    with pytest.raises(ConfigError, match=r"models: no map shown is of metric \(one of classifier\)"):
        planned(figure={"kind": "embedding_map", "options": {"models": ["metric"]}}, maps=maps)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"rankers": ["exact", {"faiss_ivf": {"lists": 5000}}]},
            "rankers: model classifier: faiss_ivf: 8 probes of 50",
        ),
        (
            {"rankers": ["exact", {"faiss_pq": {"pieces": 7, "bits": 3}}], "reducers": [{"pca": {"size": 4}}]},
            "rankers: model classifier by pca-size4: faiss_pq: 7 pieces do not divide a feature of 4 values",
        ),
        ({"rankers": ["exact", {"faiss_ivf": {"lists": 2}}]}, "8 probes of 2 lists; expected no more probes than"),
    ],
)
def test_rankers_that_do_not_fit_a_networks_features_are_refused_before_the_run(changes, message):
    planned(rankers=["exact", {"faiss_ivf": {"lists": 8}}, {"faiss_pq": {"pieces": 8, "bits": 3}}])
    with pytest.raises(ConfigError, match=message):
        planned(**changes)


@pytest.mark.parametrize("metric", ["train_accuracy_frozen", "train_loss_frozen"])
def test_what_frozen_weights_learned_is_measured_of_kept_weights_of_stages_with_a_sample(metric):
    table = {"metrics": [metric], "columns": ["epoch"]}
    with pytest.raises(ConfigError, match=f"unknown metric '{metric}'"):
        planned(table=table)
    planned(table=table, sampled=["classifier"])
    for epoch in (2, 3):
        planned(table={**table, "where": {"model": "classifier", "epoch": [epoch]}}, sampled=["classifier"])
    with pytest.raises(ConfigError, match="epoch 1 of classifier is not measured, but 2, 3;"):
        planned(table={**table, "where": {"model": "classifier", "epoch": [1]}}, sampled=["classifier"])
    planned(table={"metrics": ["train_loss"], "where": {"epoch": 1}}, sampled=["classifier"])


def test_the_accuracy_of_frozen_weights_is_a_classifiers():
    planned(table={"metrics": ["train_loss_frozen"]}, sampled=["metric"])
    with pytest.raises(ConfigError, match="unknown metric 'train_accuracy_frozen'"):
        planned(table={"metrics": ["train_accuracy_frozen"]}, sampled=["metric"])


def test_a_table_of_an_epoch_that_its_models_do_not_keep_is_refused():
    stage = {**STAGE, "epochs": 3, "checkpoints": [1]}
    stages = {"long": {**MODEL, "stages": [stage]}, "short": MODEL}
    alone = {"name": "alone", "queries": "toys/test", "gallery": "toys/train", "metrics": ["map"]}
    study = {
        **STUDY,
        "models": stages,
        "retrievals": [
            {**alone, "models": ["long", "short"], "epochs": None},
            {**alone, "name": "early", "models": ["long"], "epochs": [1]},
        ],
    }

    def check(metrics, **where):
        table = Table(title="T", metrics=metrics, rows="metric", columns=["distance"], where=where)
        validate_table(table, Study.model_validate(study), {"map", "train_loss"})

    check(["map"], epoch=3)
    check(["map"], epoch=[1, 3], model="long")
    check(["map"], epoch=1, model=["long", "short"])
    check(["map"], epoch=1, model="long", dataset=["alone", "early"])
    check(["train_loss"], epoch=2, model="long")
    for where, message in (
        ({"epoch": 3, "model": ["long", "short"]}, "epoch 3 of short is not measured, but 1;"),
        ({"epoch": 3, "model": "short"}, "epoch 3 of short"),
        ({"epoch": 2, "model": "long"}, "unknown epoch '2'"),
        ({"epoch": 1, "model": "long", "dataset": "alone"}, "epoch 1 of long is not measured on alone, but 3;"),
        ({"epoch": 3, "model": "long", "dataset": "early"}, "unknown epoch '3'"),
    ):
        with pytest.raises(InputError, match=message):
            check(["map"], **where)
    with pytest.raises(InputError, match="epoch 2 of short"):
        check(["train_loss"], epoch=2, model=["long", "short"])
