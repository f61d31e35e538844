"""How far a map can be trusted, and how well classes lie apart: in the features, and on the map.

Pure functions of arrays. All distances are Euclidean, in float64.
"""

from __future__ import annotations

import numpy as np

from trazo.errors import InputError

TRUSTWORTHINESS, SILHOUETTE, SILHOUETTE_OF_MAP = "trustworthiness", "silhouette", "silhouette_map"


def quality_names(neighbours: int) -> list[str]:
    """Return the names of the metrics of a map whose trustworthiness looks at so many neighbours."""
    return [f"{TRUSTWORTHINESS}@{neighbours}", SILHOUETTE, SILHOUETTE_OF_MAP]


def check_neighbours(neighbours: int, items: int) -> None:
    """Refuse a trustworthiness that is not defined: k neighbours need more than 2k items.

    Raises
    ------
    InputError
        If there are too few items.
    """
    if 2 * neighbours >= items:
        raise InputError(
            f"the trustworthiness of {neighbours} neighbours needs more than {2 * neighbours} items, and there are "
            f"{items}; choose smaller `neighbours`."
        )


def check_classes(labels: np.ndarray, classes: list[str]) -> None:
    """Refuse labels (N,) for which no silhouette is defined: of one class only, or of as many classes as items.

    Raises
    ------
    InputError
        If there are too few or too many classes.
    """
    present = np.unique(labels)
    if len(present) == 1:
        raise InputError(
            f"all {len(labels)} items of the map are of one class, {classes[present[0]]!r}; a silhouette compares "
            "classes, expected two at least."
        )
    if len(present) == len(labels):
        raise InputError(
            f"each of the {len(labels)} items of the map is of a class of its own; a silhouette needs classes of "
            "several items."
        )


def map_quality(values: np.ndarray, coordinates: np.ndarray, labels: np.ndarray, neighbours: int) -> dict[str, float]:
    """Return the metrics of a map by name.

    trustworthiness@k
        T(k) = 1 − 2 / (N k (2N − 3k − 1)) Σᵢ Σⱼ max(0, r(i, j) − k), the inner sum over the k items j nearest to i on
        the map, r(i, j) the rank of j among the neighbours of i by the features: 1 if every neighbour on the map is
        one in the features, near 0.5 for a map at random. Venna and Kaski, ICANN 2001; as scikit-learn computes it.
    silhouette
        Mean over items of (b − a) / max(a, b): a the mean distance to the other items of the item's class, b that to
        the items of the nearest other class, by the features; 0 for a class of one item. From −1 to 1, above 0 where
        classes lie apart. Rousseeuw, J. Comput. Appl. Math. 20 (1987); as scikit-learn computes it.
    silhouette_map
        The same by the coordinates of the map.

    Parameters
    ----------
    values : (N, D) features
    coordinates : (N, 2)
    labels : (N,) whole numbers
    neighbours
        k of the trustworthiness; below N / 2.

    Raises
    ------
    InputError
        If there are too few items or classes; see `check_neighbours` and `check_classes`.
    """
    from sklearn.manifold import trustworthiness
    from sklearn.metrics import silhouette_score

    check_neighbours(neighbours, len(values))
    check_classes(labels, [str(label) for label in range(int(labels.max()) + 1)])
    # Features of equal items, or a large offset, lose their small distances in float32.
    exact, drawn = values.astype(np.float64), coordinates.astype(np.float64)
    found = (
        trustworthiness(exact, drawn, n_neighbors=neighbours),
        silhouette_score(exact, labels),
        silhouette_score(drawn, labels),
    )
    return {name: float(value) for name, value in zip(quality_names(neighbours), found, strict=True)}
