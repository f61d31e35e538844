"""What a finished study can be searched by: a method for each of its rankings. Only records are read here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from trazo.config import WHOLE
from trazo.errors import InputError
from trazo.reducers.contract import NONE
from trazo.registry import unknown_name
from trazo.store import ArtifactError, read_overall, read_record

# The paths of the workflow's rules.
_RANKING = re.compile(
    r"(?P<origin>(?P<model>[^/]+)/(?:seed(?P<seed>\d+)/(?P<stage>[^/]+)/epoch(?P<epoch>\d+)|imported))"
    r"/(?P<retrieval>[^/]+)/(?P<reducer>[^/]+)/(?P<distance>[^/]+)/(?P<ranker>[^/]+)\.h5"
)
_EXACT = "exact"
_SCORE = "map"


@dataclass(frozen=True)
class Method:
    """A way to search a gallery: features of one network, shortened by one reducer, compared by one distance.

    Attributes
    ----------
    origin
        What gave the features, as a part of a path.
    retrieval, reducer, distance
        As the study's paths call them.
    model, stage
        Of the network; no stage where the features were made elsewhere.
    epoch, seed
        Of its training; None where the features were made elsewhere.
    queries, gallery
        `<dataset>/<split>` of both sides.
    folds
        Into how many parts the gallery falls, each with reducers of its own; 0: it is one.
    score
        Mean average precision of the study's own queries, None where it was not measured.
    lacking
        Why a drawing cannot be searched by it, empty if it can.
    """

    origin: str
    retrieval: str
    reducer: str
    distance: str
    model: str
    stage: str = ""
    epoch: int | None = None
    seed: int | None = None
    queries: str = ""
    gallery: str = ""
    folds: int = 0
    score: float | None = None
    lacking: str = ""

    @property
    def name(self) -> str:
        """What tells it from all others of its study."""
        return "/".join([self.origin, self.retrieval, self.reducer, self.distance])

    @property
    def words(self) -> str:
        """What a reader calls it."""
        trained = f", {self.stage}, epoch {self.epoch}, seed {self.seed}" if self.stage else ""
        reduced = "" if self.reducer == NONE else f", {self.reducer}"
        return f"{self.model}{trained}; {self.retrieval}{reduced}, {self.distance}"

    @property
    def parts(self) -> list[str]:
        """What paths call the parts of the gallery that have a reducer each."""
        return [f"fold{number}" for number in range(1, self.folds + 1)] or [WHOLE]


@dataclass(frozen=True)
class Files:
    """Where the artifacts of a study lie.

    Attributes
    ----------
    root
        The folder of its results.
    """

    root: Path

    def images(self, reference: str) -> Path:
        """Return the images of a `<dataset>/<split>`."""
        return self.root / "images" / f"{reference}.h5"

    def features(self, method: Method, reference: str) -> Path:
        """Return the features of a `<dataset>/<split>` that a method compares."""
        return self.root / "features" / method.origin / f"{reference}.h5"

    def checkpoint(self, method: Method) -> Path:
        """Return the trained network of a method."""
        return self.root / "models" / method.model / f"seed{method.seed}" / method.stage / "checkpoint.pt"

    def codes(self, method: Method) -> list[tuple[Path, Path]]:
        """Return the codes of a method and the reducer that made them, for each part of the gallery.

        Raises
        ------
        ArtifactError
            If there are none.
        """
        folder = self.root / "codes" / method.origin / method.retrieval
        batches = sorted(folder.iterdir()) if folder.is_dir() else []
        for batch in batches:
            found = [(batch / f"{part}.h5", batch / part / f"{method.reducer}.h5") for part in method.parts]
            if all(path.is_file() for pair in found for path in pair):
                return found
        raise ArtifactError(
            f"{folder} holds no fitted {method.reducer} with its codes for {', '.join(method.parts)}; run the study "
            "again."
        )


def find_methods(root: Path | str) -> dict[str, Method]:
    """Return the methods of a finished study by their names, those that cannot be searched by included.

    Lists of other rankers are of the same distances, so that all rankers of a distance are one method.

    Raises
    ------
    InputError
        If the folder holds no ranking.
    """
    files = Files(Path(root))
    folder = files.root / "rankings"
    found: dict[str, Method] = {}
    for path in sorted(folder.rglob("*.h5"), key=lambda p: (p.stem != _EXACT, str(p))):
        steps = _RANKING.fullmatch(path.relative_to(folder).as_posix())
        if steps is None:
            continue
        method = _method(steps.groupdict(), path)
        if method.name not in found:
            found[method.name] = replace(method, lacking=_lacking(method, files))
    if not found:
        raise InputError(
            f"{files.root} holds no rankings; expected the folder of a finished study, such as results/demo. Run the "
            f"study first: make STUDIES={files.root.name}, or snakemake."
        )
    return {name: found[name] for name in sorted(found, key=lambda name: _place(found[name]))}


def _place(method: Method) -> tuple[object, ...]:
    # Epochs are numbers: 10 comes after 2.
    return (method.model, method.stage, method.epoch or 0, method.seed or 0, method.retrieval, method.reducer != NONE,
            method.reducer, method.distance)  # fmt: skip


def _method(steps: Mapping[str, str | None], path: Path) -> Method:
    settings = read_record(path).get("settings", {})
    scores = path.with_suffix(".csv")
    return Method(
        origin=str(steps["origin"]),
        retrieval=str(steps["retrieval"]),
        reducer=str(steps["reducer"]),
        distance=str(steps["distance"]),
        model=str(steps["model"]),
        stage=steps["stage"] or "",
        epoch=None if steps["epoch"] is None else int(steps["epoch"]),
        seed=None if steps["seed"] is None else int(steps["seed"]),
        queries=str(settings.get("queries", "")),
        gallery=str(settings.get("gallery", "")),
        folds=int(settings.get("folds", 0)),
        score=read_overall(scores, _SCORE) if scores.is_file() else None,
    )


def _lacking(method: Method, files: Files) -> str:
    """Return why a method cannot be searched by, as far as files tell it."""
    if not method.stage:
        return "its features were made elsewhere, and no network is at hand that would make a drawing's"
    needed = [
        files.checkpoint(method),
        files.features(method, method.queries),
        files.features(method, method.gallery),
        files.images(method.queries),
        files.images(method.gallery),
    ]
    for path in needed:
        if not path.is_file():
            return f"{path.relative_to(files.root)} is missing; run the study again"
    if method.reducer == NONE:
        return ""
    try:
        files.codes(method)
    except ArtifactError as error:
        return str(error).removeprefix(f"{files.root}/")
    return ""


def chosen(methods: Mapping[str, Method], text: str) -> list[Method]:
    """Return the methods that a person means: that of the name, or else all whose names hold every word of the text.

    Raises
    ------
    InputError
        If there is none, or none that can be searched by.
    """
    if text in methods:
        found = [methods[text]]
    else:
        found = [method for name, method in methods.items() if all(word in name for word in text.split())]
    if not found:
        raise InputError(unknown_name("method", text, methods))
    able = [method for method in found if not method.lacking]
    if not able:
        raise InputError(f"{found[0].name} cannot be searched by: {found[0].lacking}.")
    return able


def best(methods: Mapping[str, Method]) -> Method:
    """Return the method of the largest mean average precision, of those that can be searched by; without any, the last.

    Features as they are in a whole gallery come first, where there are any: a part of one is easier to search.

    Raises
    ------
    InputError
        If none can be searched by; the message says why the first cannot.
    """
    able = [method for method in methods.values() if not method.lacking]
    if not able:
        first = next(iter(methods.values()))
        raise InputError(f"no method of this study can be searched by; {first.name}: {first.lacking}.")
    plain = [method for method in able if method.reducer == NONE and not method.folds]
    return max(reversed(plain or able), key=lambda method: -1.0 if method.score is None else method.score)
