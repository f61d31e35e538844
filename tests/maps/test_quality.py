"""The quality of maps, against sums written out and cases worked by hand."""

import numpy as np
import pytest
from trazo.errors import InputError
from trazo.maps.quality import check_classes, map_quality, quality_names


def distances(points):
    return np.sqrt(((points[:, None] - points[None]) ** 2).sum(axis=2))


def trustworthiness(values, drawn, k):
    """Venna and Kaski's sum, term by term."""
    n, far, near = len(values), distances(values), distances(drawn)
    total = 0
    for i in range(n):
        others = [j for j in range(n) if j != i]
        rank = {j: r for r, j in enumerate(sorted(others, key=lambda j: far[i, j]), start=1)}
        total += sum(max(0, rank[j] - k) for j in sorted(others, key=lambda j: near[i, j])[:k])
    return 1 - 2 / (n * k * (2 * n - 3 * k - 1)) * total


def silhouette(points, labels):
    """Rousseeuw's mean, item by item."""
    far, scores = distances(points), []
    for i, own in enumerate(labels):
        mine = [j for j in range(len(labels)) if labels[j] == own and j != i]
        if not mine:
            scores.append(0.0)
            continue
        a = np.mean([far[i, j] for j in mine])
        b = min(np.mean(far[i, labels == other]) for other in set(labels.tolist()) - {own})
        scores.append((b - a) / max(a, b))
    return np.mean(scores)


@pytest.mark.parametrize("k", [1, 3, 8])
def test_the_metrics_are_their_formulas(k):
    rng = np.random.default_rng(k)
    values, drawn = rng.normal(size=(24, 6)).astype(np.float32), rng.normal(size=(24, 2)).astype(np.float32)
    labels = np.array([*[0] * 9, *[1] * 8, *[3] * 6, 4])
    found = map_quality(values, drawn, labels, k)
    assert list(found) == quality_names(k) == [f"trustworthiness@{k}", "silhouette", "silhouette_map"]
    expected = [trustworthiness(values, drawn, k), silhouette(values, labels), silhouette(drawn, labels)]
    assert list(found.values()) == pytest.approx(expected, abs=1e-6)


def test_two_pairs_on_a_line():
    points = np.array([[0, 0], [1, 0], [10, 0], [11, 0]], dtype=np.float32)
    found = map_quality(points, points, np.array([0, 0, 1, 1]), 1)
    # The outer items are 10.5 from the other pair, the inner ones 9.5; each is 1 from its own.
    assert found["silhouette"] == found["silhouette_map"] == pytest.approx((19 / 21 + 17 / 19) / 2)
    assert found["trustworthiness@1"] == 1.0
    # Paired across, 0 with 10 and 1 with 11: a = 10; b = 6 for the outer items, and 5 for the inner ones.
    assert map_quality(points, points, np.array([0, 1, 0, 1]), 1)["silhouette"] == pytest.approx((-0.4 - 0.5) / 2)


def test_a_map_that_swaps_far_items_is_trusted_less():
    # Growing steps, so that no two distances tie.
    values = (1.5 ** np.arange(8, dtype=np.float32))[:, None].repeat(2, axis=1)
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    torn = values[[7, 1, 2, 3, 4, 5, 6, 0]]
    assert map_quality(values, values, labels, 2)["trustworthiness@2"] == 1.0
    found = map_quality(values, torn, labels, 2)["trustworthiness@2"]
    assert found == pytest.approx(trustworthiness(values, torn, 2))
    assert found < 0.9


def test_a_large_offset_hides_no_distance():
    rng = np.random.default_rng(0)
    points = rng.integers(0, 64, size=(20, 3)).astype(np.float32)
    labels = np.arange(20) % 2
    near, far = (map_quality(points + offset, points[:, :2], labels, 3) for offset in (0, 2**17))
    assert near == pytest.approx(far, abs=1e-9)


@pytest.mark.parametrize(
    ("labels", "neighbours", "message"),
    [
        ([0, 0, 1, 1], 2, "neighbours needs more than 4 items, and there are 4; choose smaller `neighbours`"),
        ([1, 1, 1, 1], 1, "all 4 items of the map are of one class"),
        ([0, 1, 2, 3], 1, "each of the 4 items of the map is of a class of its own"),
    ],
)
def test_what_has_no_quality_says_why(labels, neighbours, message):
    points = np.eye(4, 2, dtype=np.float32)
    with pytest.raises(InputError, match=message):
        map_quality(points, points, np.array(labels), neighbours)


def test_the_one_class_is_named():
    with pytest.raises(InputError, match="of one class, 'forest'"):
        check_classes(np.array([1, 1, 1]), ["coast", "forest"])
