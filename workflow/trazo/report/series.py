"""What a figure sets side by side: models, each with what shortens its features. Shared by several kinds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from trazo.config import Study
from trazo.report.measures import (
    Measure,
    learned_reducers,
    ordering,
    reduced_by,
    reducer_label,
    reducer_parts,
    select,
)

# What learned codes are searched as: nothing shortens them.
_NONE = "none"


@dataclass(frozen=True)
class Series:
    """One way of searching.

    Attributes
    ----------
    name
        What readers know it by.
    model
        Whose features are searched.
    reducer
        What shortens them, as paths name it (`pca-size32`); empty for the retrieval's first.
    learned
        Whether the features are codes that the network learned: whatever a retrieval's reducers are, none is applied.
    """

    name: str
    model: str
    reducer: str
    learned: bool

    def of(self, measures: Iterable[Measure], study: Study) -> list[Measure]:
        """Return the measures that are of it, as `reduced_by`."""
        return reduced_by(select(measures, model=self.model), self.reducer, study)


def all_series(study: Study, models: Sequence[str], reducers: Sequence[str]) -> list[Series]:
    """Return what models and reducers make together: of each model every reducer, of learned codes the model itself.

    Parameters
    ----------
    models
        Names, in the order wanted.
    reducers
        Labels as paths name them, in the order wanted; one alone is not named.
    """
    learned = learned_reducers(study)
    alone = sum(model not in learned for model in models) == 1
    found = []
    for model in models:
        for reducer in [_NONE] if model in learned else reducers:
            words = "" if len(reducers) == 1 or reducer == _NONE else sized_reducer_label(reducer)
            name = words if words and alone else " · ".join(part for part in (model, words) if part)
            found.append(Series(name, model, reducer, model in learned))
    return found


def sized_reducer_label(label: str) -> str:
    """Return a reducer, as paths name it, as readers know it, its size first ("pca-size32-whiten": "PCA 32 whiten")."""
    name, options = reducer_parts(label)
    size = options.pop("size", "")
    method = reducer_label(name)
    others = reducer_label("-".join([name, *(f"{option}{value}" for option, value in options.items())]))
    return " ".join(part for part in (method, size, others.removeprefix(method).strip()) if part)


def beside_floats(measures: Iterable[Measure], study: Study) -> list[Measure]:
    """Return measures with those of learned bits put under the first distance that floats are compared by.

    Bits are compared by Hamming distance whatever floats are compared by, and stand beside these.
    """
    measures, learned = list(measures), learned_reducers(study)
    seen = [m.distance for m in measures if m.model not in learned and m.distance]
    floats = sorted(seen, key=ordering(study, "distance", seen))[:1]
    return [
        replace(m, distance=floats[0]) if floats and m.model in learned and m.distance == "hamming" else m
        for m in measures
    ]
