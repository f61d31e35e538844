"""What holds of every reducer: saved and read again it gives the same codes, and bad input is one sentence."""

import pickle

import h5py
import numpy as np
import pytest
from trazo.errors import InputError
from trazo.reducers.contract import Reducer, ReducerOptions, load_reducers, read_reducer, reducer_choice, reducers
from trazo.store import ArtifactError, FittedReducer, _seal, write_fitted

WRITTEN = [
    {"pca": {"size": 3}},
    {"pca": {"size": 3, "whiten": True}},
    {"umap": {"size": 3, "n_neighbors": 6, "n_epochs": 30}},
    {"umap": {"size": 2, "n_neighbors": 6, "n_epochs": 30, "metric": "cosine"}},
    {"parametric_umap": {"size": 3, "n_neighbors": 6, "epochs": 3, "units": 7, "layers": 2}},
    {"pq": {"size": 1, "bits": 4}},
]
NAMES = [str(written) for written in WRITTEN]


def drawn(items, width=16, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(items, width)) + 4 * rng.integers(0, 2, (items, 1))).astype(np.float32)


@pytest.fixture(scope="module")
def fitted():
    load_reducers()
    return {name: reducer_choice(written).make().fit(drawn(60)) for name, written in zip(NAMES, WRITTEN, strict=True)}


def test_all_reducers_are_looked_at_here():
    load_reducers()
    assert {next(iter(written)) for written in WRITTEN} == set(reducers.names())


@pytest.mark.parametrize("name", NAMES)
def test_saved_and_read_again_it_gives_the_same_codes(fitted, name, tmp_path):
    before, others = fitted[name], drawn(9, seed=1)
    before.save(tmp_path / "f.h5", {"step": "reduce"})
    after = read_reducer(tmp_path / "f.h5")
    assert after.options == before.options
    for side in ("transform", "transform_queries"):
        assert np.array_equal(getattr(after, side)(others), getattr(before, side)(others))
    assert after.memory_bytes() == before.memory_bytes()
    assert after.facts() == before.facts()
    assert (tmp_path / "f.h5").stat().st_size < before.memory_bytes() + 40_000


@pytest.mark.parametrize("name", NAMES)
def test_fitted_twice_it_learns_the_same_bytes(fitted, name):
    again = type(fitted[name])(fitted[name].options)
    assert again.fit(drawn(60, seed=5)).fit(drawn(60)) is again
    assert np.array_equal(again.transform(drawn(9, seed=1)), fitted[name].transform(drawn(9, seed=1)))
    first, second = fitted[name].arrays(), again.arrays()
    assert {k: v.tobytes() for k, v in first.items()} == {k: v.tobytes() for k, v in second.items()}


@pytest.mark.parametrize("name", NAMES)
def test_a_code_depends_on_its_feature_alone(fitted, name):
    others = drawn(40, seed=1)
    together = fitted[name].transform(others)
    alone = np.concatenate([fitted[name].transform(one[None]) for one in others])
    assert np.array_equal(together, alone)
    assert np.array_equal(fitted[name].transform(others[::-1])[::-1], together)


@pytest.mark.parametrize("name", NAMES)
def test_codes_are_as_wide_as_said(fitted, name):
    reducer, codes = fitted[name], fitted[name].transform(drawn(9, seed=1))
    assert codes.shape == (9, reducer.width(16))
    assert codes.dtype == np.float32
    assert reducer.transform(drawn(0)).shape == (0, reducer.width(16))
    if reducer.name != "pq":
        assert reducer.code_bytes(9, 16) == codes.nbytes


@pytest.mark.parametrize("name", NAMES)
def test_features_it_cannot_compute_with_are_named(fitted, name):
    reducer, bad = fitted[name], drawn(60)
    bad[7, 2] = np.nan
    fresh = type(reducer)(reducer.options)
    with pytest.raises(InputError, match=f"{reducer.name}: 1 of 60 features hold .* no finite numbers, .* in row 7"):
        fresh.fit(bad)
    with pytest.raises(InputError, match=f"{reducer.name}: the features of all 60 items are the same"):
        fresh.fit(np.full((60, 16), 3, np.float32))
    for transform in (reducer.transform, reducer.transform_queries):
        with pytest.raises(InputError, match="no finite numbers"):
            transform(bad)
        with pytest.raises(InputError, match=r"got features of shape \(9, 15\), expected \(items, 16\)"):
            transform(drawn(9, 15))


@pytest.mark.parametrize("share", [0, -0.1, 1.5])
@pytest.mark.parametrize("name", ["pca", "umap", "parametric_umap", "pq"])
def test_a_share_is_a_part_of_one(name, share):
    assert reducer_choice({name: {"size": 2, "share": 0.1}}).options.share == 0.1
    assert reducer_choice({name: {"size": 2}}).options.share == 1
    with pytest.raises(InputError, match=f"{name}: option 'share': got {share}"):
        reducer_choice({name: {"size": 2, "share": share}})


def test_no_option_takes_a_list():
    """A study's list stands for several reducers."""
    load_reducers()
    for name in reducers.names():
        properties = reducers.get(name).options_type.model_json_schema()["properties"].values()
        kinds = {kind.get("type") for one in properties for kind in one.get("anyOf", [one])}
        assert not kinds & {"array", "object"}


class Pickled(Reducer):
    """Keeps its first feature, and is saved by pickle."""

    needs_trust = True

    def width(self, width):
        return width

    def check(self, items, width):
        pass

    def load(self):
        pass

    def fit(self, values):
        self.first = values[0]
        return self

    def transform(self, values):
        return values - self.first

    def memory_bytes(self):
        return self.first.nbytes

    def arrays(self):
        return {"pickle": np.frombuffer(pickle.dumps(self.first), np.uint8)}

    def restore(self, arrays):
        self.first = pickle.loads(arrays["pickle"].tobytes())
        return self


@pytest.fixture
def pickled(monkeypatch):
    load_reducers()
    monkeypatch.setattr(reducers, "_parts", {**reducers._parts, "pickled": Pickled})


def test_what_is_saved_by_pickle_is_read_only_on_trust(pickled, tmp_path, monkeypatch):
    Pickled(ReducerOptions()).fit(drawn(5)).save(tmp_path / "f.h5")
    with monkeypatch.context() as patched:
        patched.setattr(pickle, "loads", lambda _: pytest.fail("it was unpickled"))
        with pytest.raises(InputError, match=r"f.h5 holds pickled, which is saved by pickle.*trust=True"):
            read_reducer(tmp_path / "f.h5")
    again = read_reducer(tmp_path / "f.h5", trust=True)
    assert np.array_equal(again.transform(drawn(5)), drawn(5) - drawn(5)[0])


def test_several_are_fitted_one_after_the_other_where_nothing_is_shared(pickled):
    first, second = Pickled.fit_several([ReducerOptions(), ReducerOptions(share=0.5)], drawn(5))
    assert (first.options.share, second.options.share) == (1, 0.5)
    assert np.array_equal(second.transform(drawn(5)), first.transform(drawn(5)))
    assert np.array_equal(first.transform_queries(drawn(5)), first.transform(drawn(5)))


def spoilt(fitted, folder, **changes):
    arrays = {name: value for name, value in {**fitted.arrays(), **changes}.items() if value is not None}
    write_fitted(folder / "f.h5", FittedReducer(fitted.name, fitted.options.model_dump(mode="json"), arrays))
    return folder / "f.h5"


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        (NAMES[0], {"mean": None}, "there is no array 'mean', only components"),
        (NAMES[0], {"mean": np.zeros(15, "f4")}, r"array 'components' has shape \(3, 16\), and the others"),
        (NAMES[0], {"components": np.zeros((2, 16), "f4")}, r"array 'components' has shape \(2, 16\)"),
        (NAMES[0], {"mean": np.zeros(16, "i4")}, "array 'mean' is not what was saved: 1 dimensions of int32"),
        (NAMES[1], {"mean": np.full(16, np.nan, "f4")}, "array 'mean' is not what was saved"),
        (NAMES[2], {"embedding": np.zeros((59, 3), "f4")}, "array 'embedding' has shape"),
        (NAMES[4], {"weight1": np.zeros((7, 8), "f4")}, r"array 'weight1' has shape \(7, 8\)"),
        (NAMES[5], {"codebooks": np.zeros((8, 15, 2), "f4")}, "array 'codebooks' has shape"),
    ],
)
def test_a_damaged_file_is_named(fitted, tmp_path, name, changes, words):
    with pytest.raises(ArtifactError, match=f"f.h5 is damaged .{words}"):
        read_reducer(spoilt(fitted[name], tmp_path, **changes))


def test_a_file_of_something_else_is_named(fitted, tmp_path):
    with pytest.raises(ArtifactError, match="does not exist; expected fitted reducer"):
        read_reducer(tmp_path / "none.h5")
    (tmp_path / "text.h5").write_text("a reducer")
    with pytest.raises(ArtifactError, match="cannot be read as HDF5"):
        read_reducer(tmp_path / "text.h5")
    path = spoilt(fitted[NAMES[0]], tmp_path)
    whole = path.read_bytes()
    for change, words in [
        (lambda file: file.attrs.__setitem__("artifact", "map"), "holds map, expected fitted reducer"),
        (lambda file: file.attrs.__setitem__("name", "pcb"), "unknown reducer 'pcb'. Did you mean 'pca'"),
        (lambda file: file.attrs.__setitem__("options", "{"), "options that are no mapping"),
        (lambda file: file.attrs.__setitem__("options", '{"size": 0}'), "damaged .pca: option 'size': got 0"),
        (lambda file: file.__delitem__("arrays"), "is damaged"),
    ]:
        path.write_bytes(whole)
        with h5py.File(path, "a") as file:
            change(file)
        with path.open("r+b") as file:
            _seal(file)
        with pytest.raises(InputError, match=words):
            read_reducer(path)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ArtifactError, match="cut short"):
        read_reducer(path)
