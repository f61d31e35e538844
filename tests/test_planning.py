"""What planning knows of data and imported features before anything runs, and whose code a fingerprint is of."""

import shutil
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from trazo import planning
from trazo.config import ConfigError, Settings
from trazo.data.layouts import layouts
from trazo.provenance import LIBRARY, code_fingerprint
from trazo.retrieval.distances import distances


@pytest.fixture
def planned(tmp_path, monkeypatch):
    """Return a function that plans a retrieval of 60 items of 12 values in 3 classes."""
    monkeypatch.chdir(tmp_path)
    answer = {"networks": [], "objectives": [], "distances": distances.names()}
    monkeypatch.setattr(planning, "ask_torch", lambda *_: answer)
    np.savez("mine.npz", features=np.random.default_rng(0).normal(size=(60, 12)), labels=np.arange(60) % 3)

    def make(**retrieval):
        retrieval = {"features": ["mine"], "metrics": ["map", "p@5"], **retrieval}
        study = {"title": "t", "features": {"mine": {"source": "mine.npz"}}, "retrievals": [retrieval]}
        (tmp_path / "s.yaml").write_text(yaml.safe_dump(study))
        return planning.make_plans(Settings(studies=["s.yaml"]), tmp_path / "cache")["s"]

    return make


@pytest.mark.parametrize(
    ("ranker", "message"),
    [
        ({"faiss_ivf": {"lists": 61, "probes": 1}}, "faiss_ivf: 1 probes of 61 lists; expected probes ≤ lists ≤ 60"),
        ("faiss_ivf", "faiss_ivf: 8 probes of 64 lists"),
        ({"faiss_pq": {"pieces": 5, "bits": 4}}, "faiss_pq: 5 pieces do not divide a feature of 12 values evenly"),
        ({"faiss_pq": {"pieces": 4}}, "faiss_pq: 8 bits ask for 256 centroids, and the gallery has 60 items"),
        ({"faiss_pq": {"pieces": 6, "bits": 2}}, "faiss_pq: pieces of 2 values need 3 bits or more, and have 2"),
    ],
)
def test_rankers_that_do_not_fit_imported_features_are_refused_before_the_run(planned, ranker, message):
    with pytest.raises(ConfigError, match=rf"study s: retrievals\[0\].rankers: features mine: {message}"):
        planned(rankers=["exact", ranker])


def test_rankers_that_fit_are_planned(planned):
    found = planned(rankers=["exact", {"faiss_ivf": {"lists": 60}}, {"faiss_pq": {"pieces": 4, "bits": 5}}])
    assert len(found.rankings()) == 3
    assert "recall_of_exact@5" in found.study.tables["retrieval"].metrics


@pytest.mark.parametrize(
    ("reducer", "message"),
    [
        ({"pca": {"size": 13}}, "features mine: pca: 13 components of features of 12 values"),
        ({"pac": {"size": 3}}, "unknown reducer 'pac'. Did you mean 'pca'"),
        ({"pca": {"siz": 3}}, "pca: unknown option 'siz'"),
        ("none", "none is listed twice"),
        ({"pca": {"whiten": False, "size": 4}}, "listed twice, the other time as pca-size4"),
    ],
)
def test_reducers_that_cannot_be_fitted_are_refused_before_the_run(planned, reducer, message):
    with pytest.raises(ConfigError, match=rf"study s: retrievals\[0\].reducers: .*{message}"):
        planned(reducers=["none", {"pca": {"size": 4}}, reducer])


def test_more_components_than_items_are_refused_before_the_run(planned):
    np.savez("mine.npz", features=np.random.default_rng(0).normal(size=(9, 12)), labels=np.arange(9) % 3)
    with pytest.raises(ConfigError, match=r"reducers: features mine: pca: 10 components of 9 items"):
        planned(reducers={"pca": {"size": 10}})


def test_packed_bits_are_not_reduced(planned):
    np.savez("mine.npz", bits=np.zeros((60, 4), np.uint8), labels=np.arange(60) % 3)
    with pytest.raises(ConfigError, match=r"reducers: pca reduces numbers, and mine holds packed bits"):
        planned(reducers={"pca": {"size": 2}})


def test_rankers_have_to_fit_the_codes_they_search(planned):
    fits = {"faiss_pq": {"pieces": 4, "bits": 4}}
    planned(rankers=[fits], reducers={"pca": {"size": 8}})
    with pytest.raises(ConfigError, match=r"rankers: features mine by pca-size6: faiss_pq: 4 pieces do not divide"):
        planned(rankers=[fits], reducers=["none", {"pca": {"size": 6}}])


def test_every_reducer_has_rankings_of_its_own_and_every_batch_codes(planned):
    several = ["none", {"pca": {"size": [4, 2]}}, {"pca": {"size": 4, "whiten": True}}]
    found = planned(reducers=several, distances=["euclidean", "cosine"])
    folder = "results/s/codes/mine/imported/mine"
    assert found.codes() == [f"{folder}/{batch}/whole.h5" for batch in ("pca+size", "pca-size4-whiten")]
    assert found.rankings() == [
        f"results/s/rankings/mine/imported/mine/{reducer}/{distance}/exact.h5"
        for reducer in ("none", "pca-size4", "pca-size2", "pca-size4-whiten")
        for distance in ("euclidean", "cosine")
    ]
    assert set(found.codes()) <= set(found.artifacts())
    ranking = SimpleNamespace(origin="mine/imported", retrieval="mine", reducer="none")
    assert found.searched_features(ranking, "queries") == "results/s/features/mine/imported/gallery.h5"
    assert found.searched_codes(ranking) == []
    ranking.reducer = "pca-size2"
    assert found.searched_codes(ranking) == found.codes()[:1]
    ranking.reducer = "pca-size4-whiten"
    assert found.searched_codes(ranking) == found.codes()[1:]
    assert found.batch("mine", "pca+size") == {"pca-size4": {"pca": {"size": 4}}, "pca-size2": {"pca": {"size": 2}}}
    assert found.reducer_module("mine", "pca+size") == "trazo.reducers.pca"
    assert (found.folds("mine", "whole"), found.fold("whole")) == (0, 0)
    # A reducer more is no matter of the rankings that there are.
    assert planned(distances=["euclidean", "cosine"]).retrieval("mine") == found.retrieval("mine")


def test_every_fold_has_codes_of_its_own_and_rankings_search_them_all(planned):
    found = planned(reducers=["none", {"pca": {"size": [4, 2]}}], folds=3)
    folder = "results/s/codes/mine/imported/mine/pca+size"
    assert found.codes() == [f"{folder}/fold{number}.h5" for number in (1, 2, 3)]
    assert [found.fold(part) for part in ("fold1", "fold3")] == [1, 3]
    assert [found.folds("mine", part) for part in ("fold2", "whole")] == [3, 0]
    ranking = SimpleNamespace(origin="mine/imported", retrieval="mine", reducer="pca-size4")
    assert found.searched_codes(ranking) == found.codes()
    assert len(found.rankings()) == 3
    assert found.retrieval("mine")["folds"] == 3
    # Many jobs run side by side, few share the cores.
    assert [found.ranking_threads(cores) for cores in (1, 2, 8)] == [1, 1, 2]


def test_a_reducer_asks_for_a_gpu_only_if_its_options_do(planned):
    on = {device: {"parametric_umap": {"size": 2, "n_neighbors": 3, "device": device}} for device in ("cpu", "cuda")}
    asked = []
    for reducers in ([{"pca": {"size": 2}}], [on["cpu"]], [on["cuda"]]):
        found = planned(reducers=reducers)
        (label,) = found._batches["mine"]
        asked.append(found.reducing_gpus("mine", label))
    assert asked == [0, 0, 1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metrics": ["p@20"], "folds": 3}, r"p@20 looks at 20 items, and the gallery a fold of mine has 19"),
        ({"votes": [30], "folds": 2}, r"votes: 30 looks at 30 items, and the gallery a fold of mine has 29"),
        (
            {"rankers": ["exact", {"faiss_ivf": {"lists": 25, "probes": 1}}], "folds": 3},
            r"rankers: features mine: faiss_ivf: 1 probes of 25 lists; expected probes ≤ lists ≤ 20",
        ),
        (
            {"reducers": {"pca": {"size": [2, 12], "share": 0.2}}, "folds": 3},
            r"features mine: pca: 12 components of 8 items; .* leave 8 of the gallery's 60 items to fit on",
        ),
        ({"reducers": {"pca": {"size": 13}}, "folds": 3}, r"pca: 13 components of features of 12 values; .*12\.$"),
        (
            {"reducers": [{"pca": {"size": [4, 2]}}, {"pca": {"size": [8]}}]},
            r"reducers: two entries are called pca\+size: they differ in listed values alone; join these in one list",
        ),
        ({"reducers": [{"pca": {"size": [4, 2]}}, {"pca": {"size": 2}}]}, "reducers: pca-size2 is listed twice"),
        ({"reducers": [{"pca": {"size": 2}}, {"pca": {"size": [2]}}]}, "reducers: pca-size2 is listed twice"),
        (
            {"reducers": [{"pca": {"size": 2}}, {"pca": {"size": 2, "share": [0.5, 1.0]}}]},
            r"reducers: pca-share1\.0-size2 is listed twice, the other time as pca-size2",
        ),
        ({"reducers": [{"pca": {"size": 2}}, "none", {"none": {}}]}, "reducers: none is listed twice"),
        ({"reducers": [{"pca": {"size": 2}, "pq": {"size": [2]}}]}, "a reducer is a name, or one name with its opt"),
        ({"reducers": {"pca": {"size": 2, "share": [0, 1]}}}, "pca: option 'share': got 0"),
    ],
)
def test_folds_and_lists_that_cannot_be_are_refused_before_the_run(planned, changes, message):
    with pytest.raises(ConfigError, match=rf"study s: retrievals\[0\]\..*{message}"):
        planned(**changes)


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """Return a function that plans one model on doodles, of one class count and one objective."""
    monkeypatch.chdir(tmp_path)

    def make(objective, split, **stage):
        from trazo.training.objectives import facts_of

        network = {"module": "trazo.models.resnets", "features": {"pool": 64}, "smallest": 1}
        answer = {"networks": [network], "objectives": [facts_of(objective)], "distances": distances.names()}
        monkeypatch.setattr(planning, "ask_torch", lambda *_: answer)
        stage = {
            "name": "learn", "data": "pets/train", "objective": objective, "epochs": 1, "batch_size": 32,
            "optimizer": {"adam": {}}, **stage,
        }  # fmt: skip
        retrieval = {
            "models": ["one"],
            "queries": "pets/test",
            "gallery": "pets/train",
            "reducers": {"pca": {"size": 9}},
        }
        study = {
            "title": "t",
            "datasets": {"pets": {"categories": ["cat", "dog"], "split": split, "size": 32}},
            "models": {"one": {"architecture": "resnet18", "feature": "pool", "stages": [stage]}},
            "retrievals": [{**retrieval, "reducers": {"pca": {"size": 9}}}],
        }
        (tmp_path / "s.yaml").write_text(yaml.safe_dump(study))
        return planning.make_plans(Settings(studies=["s.yaml"]), tmp_path / "cache")["s"]

    return make


@pytest.mark.parametrize(
    ("objective", "least"),
    [
        ("contrastive", 2),
        ("triplet", 2),
        ({"triplet": {"mining": "hard", "per_class": 5}, "cross_entropy": {}}, 5),
        ({"pml:CircleLoss": {"per_class": 3}}, 3),
    ],
)
def test_classes_too_small_to_pair_are_refused_before_the_run(trained, objective, least):
    split = {"train": least, "test": 5, "one": 1}
    trained(objective, {**split, "train": 5}, validate_on="pets/test")
    with pytest.raises(ConfigError, match=rf"learn.data: .* at least {least} images .* too few of cat \({least - 1}\)"):
        trained(objective, {**split, "train": least - 1})
    with pytest.raises(
        ConfigError,
        match=r"learn.validate_on: .* at least 2 images .*, and pets/one has too few of cat \(1\), dog \(1\)",
    ):
        trained(objective, {**split, "train": 5}, validate_on="pets/one")
    # How many the rest are, only the data can tell.
    trained(objective, {"test": 5, "train": "rest"})


def test_a_classifier_learns_from_one_image_a_class(trained):
    split = {"train": 1, "test": 5}
    with pytest.raises(ConfigError, match=r"reducers: model one: pca: 9 components of 2 items"):
        trained("cross_entropy", split)
    found = trained("cross_entropy", {**split, "train": "rest"})
    assert found.parts_of_stage("one", "learn")["trazo.training.objectives"] == ["cross_entropy"]


def test_a_borrowed_loss_is_part_of_the_stages_that_name_it_alone(trained):
    split = {"train": 9, "test": 5}
    codes = [
        code_fingerprint("trazo.training.loop", parts=trained(objective, split).parts_of_stage("one", "learn"))
        for objective in ("cross_entropy", "triplet", {"pml:CircleLoss": {"per_class": 3}})
    ]
    parts = trained("pml:CircleLoss", split).parts_of_stage("one", "learn")
    assert parts["trazo.training.objectives"] == ["pml"]
    assert len(set(codes)) == 3


def test_a_ranking_is_of_its_own_ranker_s_code_and_no_other_s(planned, tmp_path):
    found = planned(rankers=["exact", "sklearn", {"faiss_ivf": {"lists": 4, "probes": 2}}])
    library = tmp_path / "trazo"
    shutil.copytree(LIBRARY, library, ignore=shutil.ignore_patterns("__pycache__"))
    file = library / "retrieval" / "rankers.py"

    def fingerprints():
        return {
            label.partition("-")[0]: code_fingerprint(
                "trazo.retrieval.gallery", parts=found.parts_of_ranking("mine", "euclidean", label), root=library
            )
            for label in found.study.retrievals[0].ranker_labels
        }

    def touched(old, new):
        before, text = fingerprints(), file.read_text(encoding="utf-8")
        assert text.count(old) == 1
        file.write_text(text.replace(old, new), encoding="utf-8")
        return {name for name, after in fingerprints().items() if after != before[name]}

    assert touched("faiss.IndexIVFFlat(", "faiss.IndexIVFPQ(") == {"faiss_ivf"}
    assert touched("self.index.add(gallery)", "self.index.add(gallery[:9])") == {"faiss_ivf"}
    assert touched('algorithm="brute"', 'algorithm="auto"') == {"sklearn"}
    assert touched("whole = True", "whole = 1 > 0") == {"exact"}
    assert touched("return faiss.IndexFlat(width, metric)", "return None") == set()


@pytest.fixture
def photographed(tmp_path, monkeypatch):
    """Return a function that plans a study of 2 classes in given splits: 3 + 4 to train, 2 + 1 to test."""
    monkeypatch.chdir(tmp_path)
    network = {"module": "trazo.models.alexnet", "features": {"fc7": 8}, "parameters": 1, "smallest": 8}
    learned = {"objectives": ["cross_entropy"], "samplings": ["shuffled"], "uses_logits": True}
    learned |= {"uses_embeddings": False, "smallest_batch": 1}
    answer = {"networks": [network], "objectives": [learned], "distances": distances.names()}
    monkeypatch.setattr(planning, "ask_torch", lambda *_: answer)
    for split, counts in {"train": {"coast": 3, "street": 4}, "test": {"coast": 2, "street": 1}}.items():
        for name, count in counts.items():
            (tmp_path / "photos" / split / name).mkdir(parents=True)
            for index in range(count):
                (tmp_path / "photos" / split / name / f"{name}_{split}{index}.png").write_text(f"{split}{name}{index}")

    def make(metrics=("map",), place="photos", **dataset):
        dataset = {"layout": "split_folders", "split": {"train": "all", "test": "all"}, **dataset}
        stage = {"name": "s", "data": "d/train", "epochs": 1, "optimizer": {"adam": {}}}
        model = {"architecture": "alexnet", "feature": "fc7", "stages": [stage]}
        retrieval = {"models": ["m"], "queries": "d/test", "gallery": "d/train", "metrics": list(metrics)}
        study = {"title": "t", "datasets": {"d": {"source": "web", **dataset}}, "models": {"m": model}}
        (tmp_path / "s.yaml").write_text(yaml.safe_dump({**study, "retrievals": [retrieval]}, sort_keys=False))
        return planning.make_plans(Settings(studies=["s.yaml"], sources={"web": place}), tmp_path / "cache")["s"]

    return make


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"split": {"train": "all", "test": 2}}, r"d.split.test: 2 images a class .* 1 of 'street'; .* `all`"),
        ({"split": {"train": "all", "test": "rest"}}, "d.split.test: `rest` .* write `all`"),
        ({"split": {"train": "all", "test": 1}, "layout": "folders"}, "d.split.train: `all` .* write `rest`"),
        ({"layout": "listed"}, "d.lists: there is none for split 'train'"),
        ({"layout": "listed", "lists": {"train": "a.txt", "test": "b.txt"}}, "datasets.d: lists.train: 'a.txt' is nei"),
        ({"metrics": ["p@8"]}, r"retrievals\[0\].metrics: p@8 looks at 8 items, and the gallery d/train has 7"),
        ({"metrics": ["p@4"], "categories": ["coast"]}, "p@4 looks at 4 items, and the gallery d/train has 3"),
        ({"categories": ["coats"]}, "d.categories: unknown category 'coats'.*'coast'"),
        ({"folder": "train"}, "unknown split folder 'train'"),
    ],
)
def test_given_splits_that_cannot_be_used_are_refused_before_the_run(photographed, settings, message):
    with pytest.raises(ConfigError, match=rf"study s: .*{message}"):
        photographed(**settings)


def test_a_file_whose_name_snakemake_takes_for_a_pattern_is_refused_before_the_run(photographed, tmp_path):
    (tmp_path / "photos").rename(tmp_path / "my {photos}")
    # Of the images in a folder no rule names one.
    assert photographed(place="my {photos}").categories("d") == ["coast", "street"]
    shutil.make_archive(str(tmp_path / "{photos}"), "zip", tmp_path / "my {photos}")
    with pytest.raises(ConfigError, match=r"d\.source: Snakemake would take '\{photos\}' in '\{photos\}\.zip'.*rename"):
        photographed(place="{photos}.zip")
    shutil.move(tmp_path / "{photos}.zip", tmp_path / "my <photos> {.zip")
    with pytest.raises(ConfigError, match=r"d\.source: Snakemake would take '<photos>' in 'my <photos> \{\.zip'"):
        photographed(place="my <photos> {.zip")


def test_classes_of_a_given_split_that_are_too_small_to_pair_are_named(photographed, monkeypatch):
    answer = planning.ask_torch()
    learned = {**answer["objectives"][0], "objectives": ["triplet"], "smallest_class": [4, 2]}
    monkeypatch.setattr(planning, "ask_torch", lambda *_: {**answer, "objectives": [learned]})
    words = r"s.data: triplet needs at least 4 images of every class to pair, and d/train has too few of coast \(3\);"
    with pytest.raises(ConfigError, match=words):
        photographed()


def test_class_missing_from_one_side_is_refused_before_the_run(photographed, tmp_path):
    shutil.rmtree(tmp_path / "photos" / "test" / "street")
    with pytest.raises(ConfigError, match=r"datasets.d.*'street' has images in train and none in test"):
        photographed()
    assert photographed(categories=["coast"]).categories("d") == ["coast"]


def test_image_in_two_given_splits_is_refused_before_the_run_and_looked_for_once(photographed, tmp_path, monkeypatch):
    kind, looked = type(layouts.get("split_folders")), []
    whole = kind.overlaps
    monkeypatch.setattr(kind, "overlaps", lambda *asked: looked.append(asked) or whole(*asked))
    photographed()
    photographed(split={"train": 2, "test": 1}, size=32)
    assert len(looked) == 1
    shutil.copy(tmp_path / "photos/train/street/street_train2.png", tmp_path / "photos/test/coast/new.png")
    for _ in range(2):
        pair = r"train/street/street_train2.png \(train\) = test/coast/new.png \(test\)"
        with pytest.raises(ConfigError, match=rf"datasets.d: photos: 1 image is in more than one split: {pair}\. "):
            photographed()
    assert len(looked) == 2
    photographed(categories=["coast"])
    (tmp_path / "photos/test/coast/new.png").write_text("another content")
    photographed()


def test_overlap_of_lists_is_looked_for_again_when_an_archive_or_a_list_changes(photographed, tmp_path):
    def packed(**contents):
        with zipfile.ZipFile(tmp_path / "photos.zip", "w") as file:
            for name, content in contents.items():
                file.writestr(f"{name}.png", content)

    def planned_by(train, test):
        for split, names in (("train", train), ("test", test)):
            (tmp_path / f"{split}.txt").write_text("".join(f"{name}.png\n" for name in names))
        return photographed(place="photos.zip", layout="listed", lists={"train": "train.txt", "test": "test.txt"})

    packed(a_1="1", a_2="2", a_3="1")
    planned_by(["a_1"], ["a_2"])
    with pytest.raises(ConfigError, match=r"a_1.png \(train\) = a_3.png \(test\)"):
        planned_by(["a_1"], ["a_2", "a_3"])
    packed(a_1="1", a_2="2", a_3="3")
    planned_by(["a_1"], ["a_2", "a_3"])
    packed(a_1="1", a_2="1", a_3="3")
    with pytest.raises(ConfigError, match=r"a_1.png \(train\) = a_2.png \(test\)"):
        planned_by(["a_1"], ["a_2", "a_3"])


def test_a_given_split_depends_on_none_after_it_and_on_no_other_s_images(photographed, tmp_path):
    def seen(**settings):
        found = photographed(**settings)
        return {
            split: (found.dataset_settings("d", split), found.source_listing("d", split)) for split in ("train", "test")
        }

    before = seen()
    assert seen(split={"train": "all", "test": 1})["train"] == before["train"]
    fewer = seen(split={"train": 2, "test": "all"})
    assert fewer["train"] != before["train"]
    assert fewer["test"] == before["test"]
    (tmp_path / "photos" / "test" / "coast" / "coast_test0.png").write_text("another content")
    assert seen()["train"] == before["train"]
    assert seen()["test"] != before["test"]
    (tmp_path / "photos" / "train" / "coast" / "coast_train0.png").write_text("yet another content")
    assert seen()["train"] != before["train"]
    lists = {"train": "coast_train0.png\nstreet_train0.png", "test": "coast_test0.png\nstreet_test0.png"}
    for split, text in lists.items():
        (tmp_path / f"{split}.txt").write_text(text)
    by_list = {"layout": "listed", "lists": {split: f"{split}.txt" for split in lists}}
    before = seen(**by_list)
    (tmp_path / "test.txt").write_text(lists["test"] + "\ncoast_test1.png")
    assert seen(**by_list)["train"] == before["train"]
    assert seen(**by_list)["test"] != before["test"]


def test_given_splits_of_an_archive_to_be_downloaded_are_planned_unseen(photographed):
    found = photographed(place="https://example.org/photos.zip", metrics=["p@1000"])
    assert found.categories("d") is None
    assert found.dataset_settings("d", "test")["split"] == {"train": "all", "test": "all"}
    assert found.source_inputs("d") == ["results/sources/web/archive.zip"]


def test_lists_on_disk_tell_what_is_taken_of_an_archive_to_be_downloaded(photographed, tmp_path):
    def seen(**dataset):
        found = photographed(place="https://example.org/photos.zip", **dataset)
        return {split: found.source_listing("d", split) for split in ("train", "test")}

    for split in ("train", "test"):
        (tmp_path / f"{split}.txt").write_text(f"coast_{split}0.png\nstreet_{split}0.png\n")
    by_list = {"layout": "listed", "lists": {split: f"{split}.txt" for split in ("train", "test")}}
    before = seen(**by_list)
    assert seen(**by_list) == before
    # The archive may be there by then; what was made of it is not stale for that.
    (tmp_path / "results" / "sources" / "web").mkdir(parents=True)
    (tmp_path / "results" / "sources" / "web" / "archive.zip").write_bytes(b"")
    assert seen(**by_list) == before
    (tmp_path / "test.txt").write_text("coast_test1.png\nstreet_test0.png\n")
    after = seen(**by_list)
    assert (after["train"] == before["train"], after["test"] == before["test"]) == (True, False)
    (tmp_path / "train.txt").write_text("coast_train1.png\nstreet_train0.png\n")
    # Building a split compares it with those before it.
    assert not set(seen(**by_list).values()) & {*before.values(), *after.values()}
    inside = {"layout": "listed", "lists": {"train": "inside.txt", "test": "inside2.txt"}}
    assert seen(**inside) == seen() == {"train": "", "test": ""}


def test_an_image_moved_to_another_list_is_looked_for_again(photographed, tmp_path):
    # Equal in size and time: the listing alone tells what was compared.
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as file:
        for name, content in {"a_1": "1", "a_2": "1", "a_3": "3"}.items():
            file.writestr(f"{name}.png", content)

    def planned_by(train, test):
        for split, names in (("train", train), ("test", test)):
            (tmp_path / f"{split}.txt").write_text("".join(f"{name}.png\n" for name in names))
        return photographed(place="photos.zip", layout="listed", lists={"train": "train.txt", "test": "test.txt"})

    planned_by(["a_1", "a_2"], ["a_3"])
    with pytest.raises(ConfigError, match=r"a_1.png \(train\) = a_2.png \(test\)"):
        planned_by(["a_1"], ["a_2", "a_3"])


def test_images_are_of_their_own_layout_s_code_and_no_other_s(photographed, tmp_path):
    found = {
        "split_folders": photographed(),
        "folders": photographed(layout="folders", split={"train": 3, "test": 2}),
    }
    library = tmp_path / "trazo"
    shutil.copytree(LIBRARY, library, ignore=shutil.ignore_patterns("__pycache__"))
    file = library / "data" / "image_layouts.py"

    def fingerprints():
        return {
            name: code_fingerprint("trazo.data.images", parts=planned.parts_of_images("d"), root=library)
            for name, planned in found.items()
        }

    def touched(old, new):
        before, text = fingerprints(), file.read_text(encoding="utf-8")
        assert text.count(old) == 1
        file.write_text(text.replace(old, new), encoding="utf-8")
        return {name for name, after in fingerprints().items() if after != before[name]}

    assert touched("return dict.fromkeys(dataset.split, classes)", "return {}") == {"folders"}
    assert touched("if split not in there:", "if not there:") == {"split_folders"}
    assert touched("if image in taken:", "if not image:") == set()
    assert touched("self._names = names", "self._names = list(names)") == {"folders", "split_folders"}
