"""`index.html`: the front page over all finished studies of a folder of results, each with its verdict and its report.

A study's own report writes its verdict (`card_of`); the front page reads those and nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trazo.config import Study
from trazo.errors import InputError
from trazo.printable import printable
from trazo.report import story
from trazo.store import write_text

if TYPE_CHECKING:
    import jinja2

TEMPLATES = Path(__file__).parent / "templates"
VERDICT = "verdict.json"
# Of retrievals named on a study's card.
_MOST_NAMED = 6
_VERSION = 1


def template_environment() -> jinja2.Environment:
    """Return what renders the templates: everything is escaped, and what is not defined is an error."""
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        # Not of what is marked as safe, which is markup of our own making.
        finalize=lambda value: printable(value) if type(value) is str else value,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )


def card_of(
    name: str,
    study: Study,
    scale: str,
    *,
    verdicts: Mapping[str, Sequence[story.Method]],
    chance: Mapping[str, float],
    tally: story.Tally,
    devices: Sequence[str],
    seconds: float,
    differences: int,
) -> str:
    """Return as JSON what the front page says of a study.

    Parameters
    ----------
    name, study, scale
        The study and the scale of its run.
    verdicts
        By retrieval, its methods, best first.
    chance
        By retrieval, the mAP of a random order, per cent.
    tally
        How the published values fared.
    devices, seconds
        Where the steps ran, and how long all of them took.
    differences
        In how many ways the set-up differs from the published one.
    """
    bests = []
    for retrieval, group in verdicts.items():
        best = group[0]
        bests.append(
            {
                "retrieval": retrieval,
                "method": best.name,
                "methods": len(group),
                "map": best.map.value,
                "low": best.map.ci_low,
                "high": best.map.ci_high,
                "published": best.published,
                "place": best.place,
                "chance": chance.get(retrieval),
                "queries": best.map.queries,
            }
        )
    card = {
        "version": _VERSION,
        "name": name,
        "title": study.title,
        "description": study.description,
        "scale": scale,
        "models": len(study.methods),
        "devices": list(devices),
        "seconds": seconds,
        "stand_ins": sorted(n for n, d in study.datasets.items() if d.stands_for),
        "differences": differences,
        "published": tally.total,
        "measured": tally.measured,
        "inside": tally.inside,
        "judged": tally.judged,
        "median": tally.median,
        "bests": bests,
    }
    return json.dumps(card, ensure_ascii=False, indent=1) + "\n"


def finished_studies(results: Path) -> list[Path]:
    """Return the verdicts of all studies in a folder of results that have a report, in the order of their names."""
    return sorted(p for p in results.glob(f"*/{VERDICT}") if (p.parent / "report.html").is_file())


def render_front(verdicts: Sequence[Path], output: Path) -> None:
    """Write the front page.

    Parameters
    ----------
    verdicts
        `verdict.json` of every study shown; its report lies beside it.
    output
        Where to; the page links to the reports relative to its own folder.

    Raises
    ------
    InputError
        If a verdict is none.
    """
    cards = [{**_read(path), "folder": path.parent.name} for path in verdicts]
    html = template_environment().get_template("index.html.jinja").render(
        cards=cards,
        most=_MOST_NAMED,
        duration=story.duration,
        number=story.number,
        css=(TEMPLATES / "report.css").read_text(encoding="utf-8"),
    )  # fmt: skip
    write_text(output, html)


def _read(path: Path) -> dict[str, Any]:
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        version = card["version"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} is no verdict of a study ({error}); delete it and render its report again."
        ) from error
    if version != _VERSION:
        raise InputError(f"{path} is of version {version}, expected {_VERSION}; delete it and render its report again.")
    return card
