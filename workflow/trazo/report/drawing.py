"""What all figure kinds share: their registry, their input, one look, and deterministic saving as SVG and PNG.

Light to import: the process that plans a run reads kinds and options from here, so matplotlib is imported inside
functions only.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from trazo.config import Retrieval, Study
from trazo.errors import InputError
from trazo.printable import printable
from trazo.registry import Registry, unknown_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

NEEDS = ("metrics", "histories", "rankings", "features", "images", "maps")
USES = ("published", "timings")
_SINGLE = ("metrics", "published", "timings")

# Okabe and Ito's palette, told apart by colour-blind readers; the page exchanges these exact values for its theme's.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f6a00", "#8a4fbf")
RIGHT, WRONG = "#009e73", "#d55e00"
INK, SOFT, LINE, PAPER = "#1f2a33", "#5b6872", "#d5dbe0", "#fefefe"
LINE_STYLES = ("solid", "dashed", "dotted", "dashdot")
MARKERS = ("o", "s", "^", "D", "v", "P")
RIGHT_SIGN, WRONG_SIGN = "\N{CHECK MARK}", "\N{BALLOT X}"


class Options(BaseModel):
    """Options of a figure kind: a subclass per kind, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelOptions(Options):
    """Options of kinds that show several models."""

    models: list[str] = Field(default_factory=list, description="models shown; all of them if left out")


@dataclass(frozen=True)
class Material:
    """What figures are made of: files, of which a kind reads those it `needs`.

    Attributes
    ----------
    metrics
        `metrics.csv` of the study.
    histories, rankings, features, images, maps
        Artifacts of the study; which is which is read from their own records.
    published
        The published values, or None.
    timings
        `timings.csv` of the study, or None. It differs from run to run, and so does what shows it.
    """

    metrics: Path | None = None
    histories: tuple[Path, ...] = ()
    rankings: tuple[Path, ...] = ()
    features: tuple[Path, ...] = ()
    images: tuple[Path, ...] = ()
    maps: tuple[Path, ...] = ()
    published: Path | None = None
    timings: Path | None = None

    @classmethod
    def from_paths(cls, paths: Mapping[str, Sequence[Path | str]]) -> Material:
        """Return material from lists of paths by kind, as a figure kind's `needs` and `uses` name them.

        Raises
        ------
        InputError
            If a kind is unknown, or several files are given where one is meant.
        """
        known = (*NEEDS, *USES)
        found: dict[str, Any] = {}
        for kind, several in paths.items():
            if kind not in known:
                raise InputError(unknown_name("material", kind, known))
            files = tuple(Path(path) for path in ([several] if isinstance(several, str | Path) else several))
            if kind in _SINGLE and len(files) > 1:
                raise InputError(f"figures are drawn from one {kind} file, got {len(files)}.")
            found[kind] = (files[0] if files else None) if kind in _SINGLE else files
        return cls(**found)


@dataclass(frozen=True)
class Drawing:
    """A finished picture and the words that stand for it where it cannot be seen."""

    canvas: Canvas
    description: str


@dataclass(frozen=True)
class Foreseen:
    """What planning knows of a run; None where it was not asked.

    Attributes
    ----------
    computed
        Names of all metrics that the run computes.
    classified
        By model, the splits (`<dataset>/<split>`) on which its classifier's predictions will be at hand.
    searched
        By retrieval, names of the metrics that its searches give.
    """

    computed: Collection[str] | None = None
    classified: Mapping[str, Collection[str]] | None = None
    searched: Mapping[str, Collection[str]] | None = None

    def lacks_predictions(self, models: Sequence[str], study: Study, split: str = "") -> str:
        """Return why a figure of predictions cannot be drawn, empty if it can.

        Parameters
        ----------
        models
            Models asked for by name, each of which must predict; none: any model of the study will do.
        split
            The split asked for, if any.
        """
        if self.classified is None:
            return ""
        silent = [name for name in models or study.methods if not _predicts(self.classified.get(name, ()), split)]
        if not (silent if models else len(silent) == len(study.methods)):
            return ""
        where = f" on {split}" if split else " on the queries of a retrieval"
        return (
            f"it shows predictions of classifiers, and {', '.join(silent)} predict{'' if len(silent) > 1 else 's'} "
            f"nothing{where}: no classifier is trained (add cross_entropy to the last stage's `objective`), or it "
            "learned another dataset. What nearest items take an item for is a knn_confusion."
        )


def _predicts(splits: Collection[str], split: str) -> bool:
    return split in splits if split else bool(splits)


@dataclass(frozen=True)
class FigureKind:
    """A kind of figure.

    Attributes
    ----------
    needs
        Which fields of `Material` it cannot do without, out of `NEEDS`.
    uses
        Which others it shows where they are given, out of `USES`.
    options
        The class of its options.
    draw
        Makes the picture.
    check
        Says before a run why a figure with such options cannot be drawn, beyond names that are unknown; or nothing.
    """

    name: str
    needs: tuple[str, ...]
    options: type[Options]
    draw: Callable[[Any, Study, Material], Drawing]
    uses: tuple[str, ...] = ()
    check: Check | None = None


figure_kinds: Registry[FigureKind] = Registry("figure kind")

Draw = Callable[[Any, Study, Material], Drawing]
Check = Callable[[Any, Study, Foreseen], str]


def figure_kind(
    name: str,
    *,
    needs: Sequence[str],
    options: type[Options],
    uses: Sequence[str] = (),
    check: Check | None = None,
) -> Callable[[Draw], Draw]:
    """Return a decorator that registers a drawing function as the figure kind `name`."""

    def keep(draw: Draw) -> Draw:
        figure_kinds.register(name)(FigureKind(name, tuple(needs), options, draw, tuple(uses), check))
        return draw

    return keep


def parse_options(kind: FigureKind, values: dict[str, Any], where: str) -> Options:
    """Return a kind's options, typed.

    Raises
    ------
    InputError
        If a key is unknown or a value has the wrong type; the message names the known ones.
    """
    for key in values:
        if key not in kind.options.model_fields:
            raise InputError(f"{where}: {unknown_name(f'option of {kind.name}', str(key), kind.options.model_fields)}")
    try:
        return kind.options.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(step) for step in first["loc"])
        raise InputError(f"{where}: option {key!r}: got {first['input']!r}; {first['msg']}.") from error


def shown_models(options: ModelOptions, study: Study) -> list[str]:
    """Return the models (and imported features) a figure shows, in the study's order."""
    return [name for name in study.methods if not options.models or name in options.models]


def lacks(retrieval: Retrieval, options: Options) -> str:
    """Return what a retrieval does not have of what a figure's options choose, empty if it has all."""
    held: dict[str, Sequence[str]] = {
        "models": [*retrieval.models, *retrieval.features],
        "distance": retrieval.distances,
        "distances": retrieval.distances,
        "ranker": retrieval.ranker_labels,
        "rankers": retrieval.ranker_labels,
        "reducer": retrieval.reducer_labels,
        "reducers": retrieval.reducer_labels,
    }
    for option, names in held.items():
        chosen = getattr(options, option, None) or []
        missing = [name for name in ([chosen] if isinstance(chosen, str) else chosen) if name not in names]
        if missing:
            return f"{option}: {missing[0]!r} is not in the retrieval {retrieval.label}, which has {', '.join(names)}"
    return ""


def fitting(options: Options, study: Study) -> list[Retrieval]:
    """Return the retrievals that a figure of one can show: of the name chosen, with all else that is chosen."""
    return [r for r in study.retrievals if options.retrieval in (r.label, "") and not lacks(r, options)]


@contextmanager
def house_style(salt: str) -> Iterator[None]:
    """Set the look of all figures, and what makes their SVG the same on every run."""
    import matplotlib

    settings = {
        "svg.hashsalt": salt,
        # Text stays text: it can be searched and read aloud, and files are smaller.
        "svg.fonttype": "none",
        # Names of classes and models may hold dollar signs.
        "text.parse_math": False,
        "font.family": ["DejaVu Sans"],
        "font.size": 9.0,
        "axes.titlesize": 10.0,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.labelsize": 9.0,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": SOFT,
        "axes.linewidth": 0.8,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.facecolor": "none",
        "grid.color": LINE,
        "grid.linewidth": 0.7,
        "figure.facecolor": PAPER,
        "savefig.facecolor": PAPER,
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.titlecolor": INK,
        "xtick.color": SOFT,
        "ytick.color": SOFT,
        "xtick.labelcolor": INK,
        "ytick.labelcolor": INK,
        "legend.frameon": False,
        "lines.linewidth": 1.8,
        "lines.markersize": 4.5,
    }
    with matplotlib.rc_context(settings):
        yield


def new_canvas(width: float, height: float) -> Canvas:
    """Return an empty figure of a size in inches."""
    # Not pyplot: it keeps figures in global state and looks for a display.
    from matplotlib.figure import Figure as Canvas

    return Canvas(figsize=(width, height), layout="constrained")


def blank_axes(canvas: Canvas, width: float, height: float) -> Axes:
    """Return axes over the whole canvas with one unit an inch, origin top left, nothing drawn."""
    canvas.set_layout_engine("none")
    axes = canvas.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.set_axis_off()
    return axes


def label(text: object, longest: int = 28) -> str:
    """Return a name that fits a picture: one line, no control characters, cut with an ellipsis."""
    clean = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
    return clean if len(clean) <= longest else clean[: longest - 1] + "…"


def colour_of(position: int) -> str:
    """Return the colour of the n-th thing shown."""
    return PALETTE[position % len(PALETTE)]


def mark_of(position: int) -> str:
    """Return what tells the n-th line from others of its colour: nothing, as long as there are colours."""
    return "" if position < len(PALETTE) else MARKERS[position // len(PALETTE) % len(MARKERS)]


def legend_above(canvas: Canvas, handles: Sequence[Any], **options: Any) -> None:
    """Add a legend above all plots, in as many columns as the canvas is wide enough for."""
    for columns in range(len(handles), 0, -1):
        legend = canvas.legend(handles=handles, loc="outside upper center", ncols=columns, **options)
        if columns == 1 or legend.get_window_extent().width <= 0.99 * canvas.bbox.width:
            return
        legend.remove()


def save(drawing: Drawing, *, title: str, svg: Path, png: Path, dpi: int = 150) -> None:
    """Write a picture as SVG and PNG, whole or not at all, without dates or versions."""
    from trazo.store import atomic_path

    # Control characters are none of XML, and the page could not read the SVG.
    words = {"Title": printable(title), "Description": printable(drawing.description)}
    nameless = {"Date": None, "Creator": None, "Format": None, "Type": None}
    with atomic_path(svg) as part:
        drawing.canvas.savefig(part, format="svg", dpi=dpi, metadata={**words, **nameless})
    with atomic_path(png) as part:
        drawing.canvas.savefig(part, format="png", dpi=dpi, metadata={**words, "Software": None})
