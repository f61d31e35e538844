"""Maps through the workflow: drawn, measured, shown; and drawn again only where something of theirs changed."""

import csv

import numpy as np
import pytest
from sklearn.metrics import silhouette_score

pytestmark = pytest.mark.workflow

STUDY = {
    "title": "Maps",
    "features": {"mine": {"source": "mine.npz"}},
    "retrievals": [{"features": ["mine"], "metrics": ["p@1"]}],
    "maps": {
        name: {"features": ["mine"], "method": "tsne", "options": {"perplexity": p, "max_iter": 250}, "neighbours": 5}
        for name, p in (("near", 5), ("far", 20))
    },
    "tables": {
        "maps": {
            "title": "Maps",
            "metrics": ["trustworthiness@5", "silhouette", "silhouette_map"],
            "rows": "metric",
            "columns": ["reducer"],
        }
    },
    "figures": {"maps": {"title": "Both maps", "kind": "embedding_map"}},
}


def test_maps_are_drawn_measured_shown_and_stale_one_by_one(empty):
    labels = np.repeat(np.arange(3), 20)
    values = (4 * np.eye(3, 8)[labels] + np.random.default_rng(0).normal(size=(60, 8))).astype(np.float32)
    np.savez(empty.folder / "mine.npz", features=values, labels=labels, classes=np.array(["a", "b", "c"]))
    empty.write_study(STUDY, "mapped")
    asked = ("--config", "studies=[mapped.yaml]")
    empty.snakemake(*asked)
    results = empty.folder / "results" / "mapped"
    with (results / "metrics.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["reducer"] in STUDY["maps"]]
    assert [(row["reducer"], row["metric"]) for row in rows] == [
        (name, metric) for name in ("far", "near") for metric in STUDY["tables"]["maps"]["metrics"]
    ]
    assert {(row["dataset"], row["model"], row["size"], row["queries"]) for row in rows} == {
        ("gallery", "mine", "2", "60")
    }
    expected = silhouette_score(values, labels)
    assert [float(r["value"]) for r in rows if r["metric"] == "silhouette"] == pytest.approx([expected] * 2, abs=1e-6)
    table = (results / "tables" / "maps.md").read_text()
    assert f"{expected:.3f}" in table
    page = (results / "report.html").read_text()
    assert 'id="map-data"' in page

    changed = {**STUDY, "maps": {**STUDY["maps"], "far": {**STUDY["maps"]["far"], "seed": 7}}}
    empty.write_study(changed, "mapped")
    # The other map stays, and all that maps are made of.
    followers = (
        "map_features",
        "collect_metrics",
        "compare_published",
        "render_table",
        "render_figure",
        "render_report",
        "render_index",
    )
    assert empty.stale(*asked) == dict.fromkeys(followers, 1)
