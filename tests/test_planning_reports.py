"""What planning says of tables and figures that a run will not be able to fill."""

import pytest
from trazo import planning
from trazo.config import ConfigError, Settings, Study
from trazo.plan import Learning, Plan

STAGE = {"name": "train", "data": "toys/train", "epochs": 1, "optimizer": {"adam": {"lr": 0.1}}}
MODEL = {"architecture": "resnet18", "feature": "pool", "stages": [STAGE]}
SEARCH = {
    "models": ["classifier", "metric"],
    "queries": "toys/test",
    "gallery": "toys/train",
    "metrics": ["map", "p@5"],
}
STUDY = {
    "title": "T",
    "datasets": {"toys": {"split": {"train": 4, "test": 4}, "categories": ["cat", "duck"]}},
    "models": {"classifier": MODEL, "metric": MODEL},
}


def planned(*, figure=None, table=None, **search):
    """Return a plan of a network that learns classes and one that learns distances alone, its names checked."""
    study = {**STUDY, "retrievals": [{**SEARCH, **search}]}
    study["figures"] = {"f": {"title": "F", **figure}} if figure else {}
    study["tables"] = {"t": {"title": "T", "rows": "metric", "columns": ["model"], **table}} if table else {}
    study = Study.model_validate(study)
    learning = {
        (name, "train"): Learning([], [], uses_logits=name == "classifier", uses_embeddings=False, smallest_batch=1)
        for name in study.models
    }
    found = Plan("s", "s", study, study, Settings(), {}, learning=learning)
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
