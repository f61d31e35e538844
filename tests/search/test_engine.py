"""A search finds what a ranking of the same query does, and only searches what belongs together."""

import shutil

import numpy as np
import pytest
from trazo.errors import InputError
from trazo.reducers.codes import reduce_features
from trazo.search.engine import Search
from trazo.search.methods import best, chosen, find_methods
from trazo.search.queries import StoredQuery, drawn_query
from trazo.store import read_codes, read_features, read_images, read_ranking, write_features

from .studies import BITS, CLASSES, HOSTILE, PER_CLASS, PLAIN, REDUCED, strokes_of, write_ranking

METHODS = [
    f"{PLAIN.origin}/toys-test/none/euclidean",
    f"{PLAIN.origin}/toys-test/none/cosine",
    f"{PLAIN.origin}/across/none/cosine",
    f"{BITS.origin}/toys-test/none/hamming",
    *(f"{PLAIN.origin}/whole/{label}/euclidean" for written in REDUCED.values() for label in written),
]
FOLDED = [f"{PLAIN.origin}/folded/{label}/euclidean" for written in REDUCED.values() for label in written]


def same_lists(rows, far, expected_rows, expected_far):
    """Check two ranked lists: the same distances, and the same items but for what rounding may exchange."""
    scale = max(1e-6, float(np.abs(expected_far).max()))
    np.testing.assert_allclose(far, expected_far, rtol=2e-4, atol=2e-4 * scale)
    for place in np.flatnonzero(np.asarray(rows) != expected_rows):
        where = np.flatnonzero(expected_rows == rows[place])
        # Beyond the end of the list, another item may be as near as the last.
        other = expected_far[where[0]] if len(where) else expected_far[-1]
        assert abs(other - expected_far[place]) <= 4e-4 * scale


@pytest.mark.parametrize("name", METHODS)
def test_a_stored_query_finds_the_list_of_its_ranking(search, finished, name):
    ranking = read_ranking(finished / "rankings" / name / "exact.h5")
    method = search.method(name)
    differing = 0
    for row in range(len(ranking.query_ids)):
        found = search.search(search.item(method.queries, row), method, top=10)
        hits = [hit.row for hit in found.hits]
        same_lists(hits, [hit.distance for hit in found.hits], ranking.top_indices[row], ranking.top_distances[row])
        differing += hits != ranking.top_indices[row].tolist()
        assert [hit.item for hit in found.hits] == [ranking.gallery_ids[hit] for hit in hits]
        assert [hit.label for hit in found.hits] == [ranking.classes[ranking.gallery_labels[hit]] for hit in hits]
    # Rounding exchanges items once in a while, not as a rule.
    assert differing <= 2


@pytest.mark.parametrize("name", FOLDED)
def test_in_folds_every_item_is_compared_by_the_reducer_of_its_own_fold(search, finished, name):
    ranking = read_ranking(finished / "rankings" / name / "exact.h5")
    method = search.method(name)
    parts = [codes for codes, _ in search.files.codes(method)]
    assert len(parts) == 3
    first = read_codes(parts[0]).rows
    items = len(ranking.gallery_ids)
    for row in (0, 7, 17):
        query = search.item(method.queries, row)
        whole = search.search(query, method, top=items).hits
        # All items but itself, each once, nearest first.
        assert sorted(hit.row for hit in whole) == [other for other in range(items) if other != row]
        assert [hit.distance for hit in whole] == sorted(hit.distance for hit in whole)
        # Those of the first fold stand as in the ranking, which is the first fold's.
        kept = [hit for hit in whole if hit.row in first][:4]
        same_lists(
            [hit.row for hit in kept], [hit.distance for hit in kept], ranking.top_indices[row],
            ranking.top_distances[row],
        )  # fmt: skip
        # Those of the others have the distance of codes by their own fold's reducer.
        for path in parts[1:]:
            codes = read_codes(path).codes[method.reducer]
            stored = codes.queries if codes.queries is not None else search_features(search, method)
            rows = read_codes(path).rows
            own = {other: np.linalg.norm(stored[row] - codes.gallery[place]) for place, other in enumerate(rows)}
            for hit in whole:
                if hit.row in own:
                    assert hit.distance == pytest.approx(own[hit.row], rel=1e-3, abs=1e-4)


def search_features(search, method):
    return read_features(search.files.features(method, method.queries)).values


def test_a_query_from_outside_leaves_nothing_out(search, finished):
    method = search.method(METHODS[0])
    pixels = read_images(finished / "images" / "toys" / "test.h5").pixels[3]
    own = StoredQuery(pixels, "someone's copy", "", "", "")
    first = search.search(own, method, top=1).hits[0]
    assert (first.row, first.distance) == (3, pytest.approx(0, abs=1e-3))
    # An item of another split is none of this gallery, whatever it is called.
    ids = read_images(finished / "images" / "toys" / "test.h5").ids
    stranger = StoredQuery(pixels, "x", "", ids[3], "toys/train")
    assert search.search(stranger, method, top=1).hits[0].row == 3
    assert search.search(search.item("toys/test", 3), method, top=1).hits[0].row != 3


def test_a_drawing_is_found_class_distance_and_time(search):
    found = search.search(drawn_query(strokes_of("cat")), METHODS[0], top=5)
    assert len(found.hits) == 5
    assert {hit.label for hit in found.hits} <= set(CLASSES)
    assert [hit.distance for hit in found.hits] == sorted(hit.distance for hit in found.hits)
    assert set(found.milliseconds) == {"pixels", "network", "reduce", "distances"}
    assert all(taken >= 0 for taken in found.milliseconds.values())
    assert found.milliseconds["network"] > 0
    assert len(found.guesses) == 3
    assert sum(probability for _, probability in found.guesses) == pytest.approx(1)
    # A network that learned no classes guesses none.
    assert search.search(drawn_query(strokes_of("cat")), METHODS[3]).guesses == []


def test_parts_that_methods_share_are_computed_once(search, monkeypatch):
    network, _ = search.open(search.method(METHODS[0]))
    passes = []
    original = type(network).__call__
    monkeypatch.setattr(type(network), "__call__", lambda self, *a: passes.append(self) or original(self, *a))
    asked = search.asking(drawn_query(strokes_of("crab")))
    for name in METHODS:
        search.open(search.method(name))
    passes.clear()
    for name in METHODS:
        asked.by(name)
    assert len(passes) == 2


def test_a_gallery_gives_no_more_than_it_has(search):
    assert len(search.search(search.item("toys/test", 0), METHODS[0], top=999).hits) == 3 * PER_CLASS["test"] - 1
    with pytest.raises(InputError, match="0 items were asked for"):
        search.search(search.item("toys/test", 0), METHODS[0], top=0)


def test_what_can_be_searched_by_is_listed_once_for_all_rankers(search):
    assert set(search.methods) == {*METHODS, *FOLDED}
    assert all(method.score is not None and not method.lacking for method in search.methods.values())
    found = search.methods[METHODS[0]]
    assert (found.model, found.stage, found.epoch, found.seed) == ("plain", "learn", 2, 0)
    assert (found.queries, found.gallery, found.folds) == ("toys/test", "toys/test", 0)
    scores = read_ranking(search.files.root / "rankings" / METHODS[0] / "exact.h5")
    assert found.score == pytest.approx(np.nanmean(scores.values[:, scores.metrics.index("map")]))
    # A fold is easier to search than a whole gallery, and no rival to it.
    whole = [method for method in search.methods.values() if method.reducer == "none"]
    assert best(search.methods).score == max(method.score for method in whole)
    assert search.method().name == best(search.methods).name
    assert set(search.references) == {"toys/test", "toys/train"}


def test_methods_are_chosen_by_words(search):
    assert [method.name for method in chosen(search.methods, METHODS[1])] == [METHODS[1]]
    assert {method.name for method in chosen(search.methods, "plain cosine")} == {METHODS[1], METHODS[2]}
    with pytest.raises(InputError, match="unknown method 'plane'"):
        chosen(search.methods, "plane")
    with pytest.raises(InputError, match="has no method 'x'"):
        search.method("x")


def test_a_folder_without_a_study_says_what_to_do(tmp_path):
    with pytest.raises(InputError, match=r"holds no rankings.*Run the study first"):
        Search(tmp_path / "nowhere", device="cpu")


@pytest.fixture
def copy(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "results" / "toys")
    return tmp_path / "results" / "toys"


def test_a_missing_artifact_leaves_the_other_methods(copy):
    (copy / "models" / "bits" / "seed0" / "learn" / "checkpoint.pt").unlink()
    shutil.rmtree(copy / "codes" / PLAIN.origin / "folded" / "pq")
    methods = find_methods(copy)
    lacking = {name: method.lacking for name, method in methods.items() if method.lacking}
    assert set(lacking) == {METHODS[3], FOLDED[2]}
    assert "models/bits/seed0/learn/checkpoint.pt is missing" in lacking[METHODS[3]]
    assert "no fitted pq-size1-bits2" in lacking[FOLDED[2]]
    opened = Search(copy, device="cpu", threads=1)
    assert opened.search(opened.item("toys/test", 0), METHODS[0]).hits
    with pytest.raises(InputError, match=r"cannot be searched by: .*checkpoint.pt is missing"):
        opened.method(METHODS[3])


def test_features_made_elsewhere_have_no_network_for_a_drawing(copy):
    path = copy / "rankings" / "mine" / "imported" / "mine" / "none" / "euclidean" / "exact.h5"
    path.parent.mkdir(parents=True)
    shutil.copy(copy / "rankings" / METHODS[0] / "exact.h5", path)
    methods = find_methods(copy)
    assert "made elsewhere" in methods["mine/imported/mine/none/euclidean"].lacking
    for folder in ("plain", "bits"):
        shutil.rmtree(copy / "rankings" / folder)
    with pytest.raises(InputError, match=r"no method of this study can be searched by; mine/imported.*made elsewhere"):
        best(find_methods(copy))


def test_a_network_that_does_not_give_the_features_beside_it_is_refused(copy):
    PLAIN.train(copy, seed=1)
    opened = Search(copy, device="cpu", threads=1)
    with pytest.raises(InputError, match=r"is not what .*checkpoint.pt gives .*different runs\. Run the study again"):
        opened.search(opened.item("toys/test", 0), METHODS[0])


def test_a_network_of_other_settings_is_refused(copy):
    PLAIN.train(copy, settings={"key": {"model": "plain"}, "lr": 7})
    opened = Search(copy, device="cpu", threads=1)
    with pytest.raises(InputError, match="trainings with other settings"):
        opened.search(opened.item("toys/test", 0), METHODS[0])


def test_images_of_other_items_are_refused(copy):
    features = copy / "features" / PLAIN.origin / "toys" / "test.h5"
    stored = read_features(features)
    write_features(features, type(stored)(**{**stored.__dict__, "ids": stored.ids[::-1]}))
    opened = Search(copy, device="cpu", threads=1)
    with pytest.raises(InputError, match="different runs"):
        opened.search(opened.item("toys/test", 0), METHODS[0])


def test_bits_of_another_network_are_refused(copy):
    BITS.train(copy, seed=3)
    opened = Search(copy, device="cpu", threads=1)
    with pytest.raises(InputError, match="different runs"):
        opened.search(opened.item("toys/test", 0), METHODS[3])


def test_a_reducer_that_does_not_give_the_codes_beside_it_is_refused(copy):
    folder = copy / "codes" / PLAIN.origin / "whole" / "pca+size"
    sides = copy / "features" / PLAIN.origin / "toys"
    # Fitted on other items, under the same name.
    reduce_features(
        queries=sides / "train.h5", gallery=sides / "test.h5", codes=copy / "other.h5", fitted=copy / "other",
        reducers=REDUCED["pca+size"], retrieval="whole", batch="pca+size", code="c",
    )  # fmt: skip
    shutil.copy(copy / "other" / "pca-size4.h5", folder / "whole" / "pca-size4.h5")
    opened = Search(copy, device="cpu", threads=1)
    with pytest.raises(InputError, match=r"does not hold what .*pca-size4.h5 makes of the features"):
        opened.search(opened.item("toys/test", 0), f"{PLAIN.origin}/whole/pca-size4/euclidean")
    assert opened.search(opened.item("toys/test", 0), f"{PLAIN.origin}/whole/pca-size2/euclidean").hits


def test_codes_of_another_gallery_are_refused(copy):
    folder = copy / "codes" / PLAIN.origin / "whole" / "pca+size"
    sides = copy / "features" / PLAIN.origin / "toys"
    reduce_features(
        queries=sides / "train.h5", gallery=sides / "test.h5", codes=folder / "whole.h5", fitted=folder / "whole",
        reducers=REDUCED["pca+size"], retrieval="whole", batch="pca+size", code="c",
    )  # fmt: skip
    opened = Search(copy, device="cpu", threads=1)
    with pytest.raises(InputError, match="codes are of another gallery"):
        opened.search(opened.item("toys/test", 0), f"{PLAIN.origin}/whole/pca-size4/euclidean")


def test_methods_stand_in_the_order_of_their_epochs(copy):
    for epoch in (10, 1):
        origin = copy / "rankings" / f"plain/seed0/learn/epoch{epoch}/toys-test/none/euclidean"
        shutil.copytree(copy / "rankings" / METHODS[0], origin)
    epochs = [method.epoch for method in find_methods(copy).values() if method.model == "plain"]
    assert epochs == sorted(epochs)
    assert epochs[-1] == 10


def test_a_new_ranking_of_bits_by_another_ranker_alone_is_a_method(copy):
    shutil.rmtree(copy / "rankings" / BITS.origin)
    write_ranking(copy, BITS, "toys-test", "toys/test", "toys/test", "hamming", ranker="faiss_binary_flat")
    method = find_methods(copy)[METHODS[3]]
    assert (method.lacking, method.score) == ("", None)
    opened = Search(copy, device="cpu", threads=1)
    assert opened.search(opened.item("toys/test", 0), method).hits[0].label in {*CLASSES, HOSTILE}
