"""Folds and lists of reducers through the workflow: added to a finished study, and what of them is stale when."""

import copy
import csv
import shutil

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.metrics import average_precision_score
from trazo.folds import searched_rows
from trazo.reducers.contract import read_reducer
from trazo.store import read_codes, read_features, read_ranking

from tests.workflow.conftest import STUDY, Project

pytestmark = pytest.mark.workflow

FOLDED = {
    **STUDY["retrievals"][0],
    "name": "folded",
    "models": ["one"],
    "folds": 2,
    "reducers": ["none", {"pca": {"size": [4, 2]}}, {"pq": {"size": 1, "bits": 2}}],
    "votes": [1],
    "cost": True,
}
TABLES = {
    "sizes": {
        "title": "Sizes",
        "metrics": ["map"],
        "rows": "size",
        "columns": ["reducer"],
        "where": {"dataset": "folded"},
    },
    "folds": {
        "title": "Folds",
        "metrics": ["map"],
        "rows": "fold",
        "columns": ["reducer", "size"],
        "where": {"dataset": "folded"},
    },
}


def with_folds(**changes):
    study = copy.deepcopy(STUDY)
    study["retrievals"].append({**FOLDED, **changes})
    study["tables"] |= TABLES
    # Two retrievals: figures show the first.
    study["figures"]["curve"]["options"] |= {"retrieval": "pets-test"}
    return study


@pytest.fixture(scope="module")
def folded(finished, tmp_path_factory) -> Project:
    """The finished tiny study, to which a folded retrieval was added, and that ran."""
    project = Project(tmp_path_factory.mktemp("folded") / "trazo")
    shutil.copytree(finished.folder, project.folder)
    project.write_study(with_folds())
    stale = project.stale()
    # Two batches in two folds and, for their cost, on the whole gallery.
    assert {rule: stale[rule] for rule in ("reduce_features", "rank_gallery", "measure_cost")} == {
        "reduce_features": 6,
        "rank_gallery": 4,
        "measure_cost": 3,
    }
    assert not {"build_images", "train_stage", "extract_features"} & set(stale)
    project.snakemake()
    return project


@pytest.fixture
def project(folded, tmp_path) -> Project:
    """A copy of it."""
    shutil.copytree(folded.folder, tmp_path / "trazo")
    return Project(tmp_path / "trazo")


def rows_of(project, **where):
    with (project.folder / "results/tiny/metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [row for row in rows if all(row[key] == value for key, value in where.items())]


def test_a_folded_retrieval_is_added_by_lines_of_a_study_and_finished(folded):
    assert folded.stale() == {}
    features = read_features(next((folded.folder / "results/tiny/features/one").rglob("test.h5")))
    parts = searched_rows(features.labels, features.ids, 2, classes=features.classes)
    expected = np.full((2, len(features)), np.nan)
    for number, rows in enumerate(parts):
        others = np.setdiff1d(np.arange(len(features)), rows)
        values = features.values.astype(np.float64)
        codes = PCA(4, svd_solver="full").fit(values[others]).transform(values)
        # Leave-one-out: queries search the fold that they are in, of which no reducer knows them.
        for query in rows:
            mine = rows[rows != query]
            far = np.linalg.norm(codes[mine] - codes[query], axis=1)
            expected[number, query] = average_precision_score(features.labels[mine] == features.labels[query], -far)
    key = {"dataset": "folded", "reducer": "pca", "size": "4", "metric": "map", "class": "", "average": "queries"}
    (total,) = rows_of(folded, **key, fold="")
    # Codes are kept in float32.
    assert float(total["value"]) == pytest.approx(np.nanmean(expected), abs=1e-3)
    for fold in (1, 2):
        (row,) = rows_of(folded, **key, fold=str(fold))
        assert float(row["value"]) == pytest.approx(np.nanmean(expected[fold - 1]), abs=1e-3)
    found = {(r["reducer"], r["size"], r["bits"]) for r in rows_of(folded, dataset="folded")}
    assert found == {("none", "64", "2048"), ("pca", "4", "128"), ("pca", "2", "64"), ("pq-bits2", "1", "32")}
    # A retrieval without folds has no rows of any.
    assert {row["fold"] for row in rows_of(folded, dataset="pets-test")} == {""}


def test_codes_and_fitted_reducers_lie_where_readers_look(folded):
    features = read_features(next((folded.folder / "results/tiny/features/one").rglob("test.h5")))
    (folder,) = (folded.folder / "results/tiny/codes/one").rglob("folded")
    assert sorted(path.name for path in (folder / "pca+size/fold2").glob("*.h5")) == ["pca-size2.h5", "pca-size4.h5"]
    rows = searched_rows(features.labels, features.ids, 2, classes=features.classes)[1]
    ids = [features.ids[row] for row in rows]
    codes = read_codes(folder / "pca+size/fold2.h5", query_ids=ids, gallery_ids=features.ids)
    kept = read_reducer(folder / "pca+size/fold2/pca-size4.h5")
    np.testing.assert_allclose(kept.transform(features.values[rows]), codes.codes["pca-size4"].queries, atol=1e-5)
    (path,) = (folded.folder / "results/tiny/rankings/one").rglob("folded/pca-size4/euclidean/exact.h5")
    ranking = read_ranking(path)
    assert set(ranking.top_indices[rows].ravel().tolist()) <= set(rows.tolist())
    assert ranking.gallery_ids == features.ids


def test_the_report_shows_means_over_folds_and_folds_where_asked(folded):
    def table(name, head):
        with (folded.folder / f"results/tiny/tables/{name}.csv").open(newline="") as file:
            return {line[head]: line for line in csv.DictReader(file)}

    key = {"dataset": "folded", "metric": "map", "class": "", "average": "queries", "reducer": "pca", "size": "4"}
    means = {row["fold"]: 100 * float(row["value"]) for row in rows_of(folded, **key)}
    assert float(table("sizes", "size")["4"]["pca"]) == pytest.approx(means[""])
    found = {fold: float(line["pca size 4"]) for fold, line in table("folds", "fold").items()}
    assert found == pytest.approx({"1": means["1"], "2": means["2"], "mean": means[""]})
    page = (folded.folder / "results/tiny/report.html").read_text()
    assert "explained variance" in page
    assert "fold 2" in page
    with (folded.folder / "results/tiny/significance.csv").open(newline="") as file:
        tests = [row for row in csv.DictReader(file) if row["dataset"] == "folded" and row["metric"] == "map"]
    # All pairs of four methods, by both means.
    assert len(tests) == 12


@pytest.mark.parametrize(
    ("changes", "reduce", "rank", "cost"),
    [
        # The entry is fitted again in both folds and as a whole, its rankings follow, and there is a new one.
        ({"reducers": ["none", {"pca": {"size": [4, 2, 3]}}, FOLDED["reducers"][2]]}, 3, 3, 1),
        ({"reducers": [*FOLDED["reducers"], {"pca": {"size": 4, "whiten": True}}]}, 3, 1, 1),
        ({"reducers": FOLDED["reducers"][:2]}, 0, 0, 0),
        # Costs are those of the whole gallery.
        ({"folds": 3}, 6, 4, 0),
        ({"metrics": ["map"]}, 0, 4, 0),
        ({"cost": False}, 0, 0, 0),
    ],
)
def test_a_change_of_a_folded_retrieval_touches_what_depends_on_it(project, changes, reduce, rank, cost):
    project.write_study(with_folds(**changes))
    stale = project.stale()
    found = [stale.get(rule, 0) for rule in ("reduce_features", "rank_gallery", "measure_cost")]
    assert found == [reduce, rank, cost]
    assert not {"train_stage", "extract_features"} & set(stale)


@pytest.mark.parametrize(
    ("module", "reduce", "rank", "cost"),
    [
        ("reducers/pca.py", 3, 2, 1),
        ("reducers/pq.py", 3, 1, 1),
        ("reducers/codes.py", 6, 3, 2),
        # What is searched by itself is decided there, for features too.
        ("folds.py", 6, 6, 2),
        ("retrieval/gallery.py", 0, 6, 0),
        ("retrieval/kernels.py", 0, 6, 3),
        ("costs.py", 0, 0, 3),
        ("reducers/umap.py", 0, 0, 0),
    ],
)
def test_changed_code_touches_the_reducers_that_it_makes(project, module, reduce, rank, cost):
    with (project.folder / "workflow" / "trazo" / module).open("a") as file:
        file.write("\n\n# A comment.\n")
    assert project.stale() == {}
    with (project.folder / "workflow" / "trazo" / module).open("a") as file:
        file.write("\nANOTHER_MEANING = 1\n")
    stale = project.stale()
    found = [stale.get(rule, 0) for rule in ("reduce_features", "rank_gallery", "measure_cost")]
    assert found == [reduce, rank, cost]
