"""The run as a picture: its steps from sources to this page, how many artifacts each made, and in what time.

Drawn as SVG by hand: it has the same few places in every study, and needs no layout engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from trazo.report.story import Step, duration, number

# CSS pixels.
_WIDE, _HIGH, _GAP, _LEVEL = 112, 62, 30, 92


@dataclass(frozen=True)
class Node:
    """A step of the run.

    Attributes
    ----------
    key, name
        The step as records name it, and as readers know it.
    column, level
        Its place, from the left and from above.
    follows
        Keys of the steps whose artifacts it reads.
    lines
        What stands below its name.
    """

    key: str
    name: str
    column: int
    level: int
    follows: tuple[str, ...]
    lines: tuple[str, ...] = ()


# Steps as records name them, in the order of the flow, with what they read; one that did not run is passed over.
_STEPS = (
    ("images", "images", 0, ("sources",)),
    ("train", "training", 0, ("images",)),
    ("import", "imported features", 1, ("sources",)),
    ("features", "features", 0, ("train", "images")),
    ("reduce", "codes", 0, ("features", "import")),
    ("rank", "rankings", 0, ("reduce", "features", "import")),
    ("map", "maps", 1, ("features", "import")),
)
# What the records of steps are called that do the same.
_ALSO = {"extract": "features"}


def flow_of(steps: Sequence[Step], *, sources: int, tables: int, figures: int, published: int) -> list[Node]:
    """Return the steps of a run that made anything, in their places.

    Parameters
    ----------
    steps
        Every artifact's making, as `story.steps`.
    sources, tables, figures, published
        How many there are of each.
    """
    made: dict[str, list[Step]] = {}
    for step in steps:
        made.setdefault(_ALSO.get(step.name, step.name), []).append(step)
    nodes = {"sources": Node("sources", "sources", 0, 0, (), (_counted(sources, "source"),))}
    for key, name, level, reads in _STEPS:
        if key not in made:
            continue
        follows = tuple(read for read in reads if read in nodes)
        # What was made from codes was made from features by way of them.
        direct = tuple(f for f in follows if not any(f in nodes[other].follows for other in follows if other != f))
        column = 1 + max((nodes[f].column for f in direct), default=0)
        taken = {(node.column, node.level) for node in nodes.values()}
        while (column, level) in taken:
            level += 1
        seconds = sum(step.seconds or 0.0 for step in made[key])
        lines = (_counted(len(made[key]), "artifact"), *([duration(seconds)] if seconds else []))
        nodes[key] = Node(key, name, column, level, direct, lines)
    ends = tuple(key for key in ("rank", "map") if key in nodes) or tuple(nodes)[-1:]
    column = 1 + max(nodes[key].column for key in nodes)
    told = (f"{number(published)} published",) if published else ()
    nodes["metrics"] = Node("metrics", "metrics", column, 0, ends, told)
    shown = tuple(_counted(count, name) for count, name in ((tables, "table"), (figures, "figure")) if count)
    nodes["report"] = Node("report", "this page", column + 1, 0, ("metrics",), shown)
    return list(nodes.values())


def _counted(count: int, name: str) -> str:
    return f"{number(count)} {name}{'' if count == 1 else 's'}"


def flow_words(nodes: Sequence[Node]) -> str:
    """Return the picture in a sentence for whoever cannot see it."""
    return "; then ".join(f"{node.name} ({', '.join(node.lines)})" if node.lines else node.name for node in nodes) + "."


def flow_svg(nodes: Sequence[Node]) -> str:
    """Return the steps as an inline SVG picture, in the page's colours."""
    places = {n.key: (n.column * (_WIDE + _GAP) + 1, n.level * _LEVEL + 1) for n in nodes}
    width = max(x for x, _ in places.values()) + _WIDE + 1
    height = max(y for _, y in places.values()) + _HIGH + 1
    parts = [
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" class="flow" role="img" '
        f'aria-label="{escape("Steps of the run: " + flow_words(nodes))}">',
        '<defs><marker id="flow-tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto"><path d="M0 0L8 4L0 8Z"/></marker></defs>',
    ]
    for node in nodes:
        for before in node.follows:
            (x0, y0), (x1, y1) = places[before], places[node.key]
            start, end = x0 + _WIDE, x1 - 2
            if y0 == y1:
                # An arrow that passes other steps goes below them.
                between = any(y == y0 and x0 < x < x1 for x, y in places.values())
                low = y0 + _HIGH + 9
                path = (
                    f"M{x0 + _WIDE / 2:g} {y0 + _HIGH}V{low}H{x1 + _WIDE / 2:g}V{y1 + _HIGH + 2}"
                    if between
                    else f"M{start} {y0 + _HIGH / 2:g}H{end}"
                )
            else:
                middle = end - _GAP / 2
                path = f"M{start} {y0 + _HIGH / 2:g}H{middle:g}V{y1 + _HIGH / 2:g}H{end}"
            parts.append(f'<path d="{path}" marker-end="url(#flow-tip)"/>')
    for node in nodes:
        x, y = places[node.key]
        parts.append(f'<g><rect x="{x}" y="{y}" width="{_WIDE}" height="{_HIGH}" rx="9"/>')
        first = y + _HIGH / 2 + 4 - 8 * len(node.lines)
        parts.append(f'<text x="{x + _WIDE / 2:g}" y="{first:g}" class="name">{escape(node.name)}</text>')
        for place, line in enumerate(node.lines, 1):
            parts.append(f'<text x="{x + _WIDE / 2:g}" y="{first + 16 * place:g}">{escape(line)}</text>')
        parts.append("</g>")
    return "".join([*parts, "</svg>"])
