"""Searching by drawing in a study of the demo's size: in the library, by the page's server, and in a browser."""

from __future__ import annotations

import tempfile
import weakref
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import requests
from trazo.data.doodles import draw_many
from trazo.search.engine import Search
from trazo.search.queries import drawn_query

from tests.benchmarks.harness import Contestant, Values, benchmark, cores
from tests.browser import Page, browser_path, running
from tests.search.serving import Served, serving
from tests.search.studies import make_demo

DRAWINGS, TOP = 40, 12
# From lifting the pen to seeing what was found.
_WANTED_MS = 150


@dataclass
class Desk:
    """A study opened for searching, and drawings that it does not hold.

    Attributes
    ----------
    search, drawings
        The study; the strokes of each drawing.
    served, page
        Its server, and its page in a browser, where there is one.
    kept
        What is closed once nobody uses the desk any more.
    """

    search: Search
    drawings: list[list[np.ndarray]]
    served: Served | None = None
    page: Page | None = None
    kept: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        weakref.finalize(self, self.kept.close)


def desk(small: bool) -> Desk:
    """Return a study of the demo's size, warm."""
    folder = tempfile.TemporaryDirectory()
    root = make_demo(Path(folder.name) / "results" / "demo", 2 if small else 30)
    many = draw_many("cat", 2 if small else DRAWINGS, seed=77)
    drawings = [[stroke.astype(float) for stroke in many.strokes(i)] for i in range(len(many))]
    made = Desk(Search(root, device="cpu", threads=cores()), drawings)
    made.kept.enter_context(folder)
    library(made)
    return made


def library(desk: Desk) -> Values:
    """Search for the drawings one by one."""
    found = [desk.search.search(drawn_query(strokes), top=TOP) for strokes in desk.drawings]
    return summed([hit.distance for one in found for hit in one.hits])


def served_desk(small: bool) -> Desk:
    """Return the study behind the page's server."""
    made = desk(small)
    made.served = made.kept.enter_context(serving(made.search))
    return made


def over_http(desk: Desk) -> Values:
    """Ask the server for the drawings one by one, and for the pictures of what is found."""
    far = []
    with requests.Session() as session:
        for strokes in desk.drawings:
            sent = {"strokes": [stroke.T.tolist() for stroke in strokes]}
            answer = session.post(f"{desk.served.address}/api/drawing", json=sent, params={"top": TOP}).json()
            for hit in answer["found"][0]["hits"]:
                far.append(hit["distance"])
                session.get(f"{desk.served.address}/{hit['thumb']}").raise_for_status()
    return summed(far)


def browsed_desk(small: bool) -> Desk:
    """Return the study behind its page, open in a browser."""
    if browser_path() is None:
        raise ModuleNotFoundError("there is no browser", name="Chromium")
    made = served_desk(small)
    profile = made.kept.enter_context(tempfile.TemporaryDirectory())
    made.page = made.kept.enter_context(running(Path(profile))).open(f"{made.served.address}/")
    in_browser(made)
    return made


# Kept when the page has measured an answer: how many pictures it then shows.
_ANSWERED = """void (window.answered = new Promise(done => new PerformanceObserver((list, watch) => {
  watch.disconnect();
  done(document.querySelectorAll('.hits img').length);
}).observe({type: 'measure'})))"""


def in_browser(desk: Desk) -> Values:
    """Draw the first stroke of each drawing with the mouse, and wait until what is found for it is seen."""
    page = desk.page
    box = "document.getElementById('canvas').getBoundingClientRect()"
    left, top, side = (page.run(f"{box}.{name}") for name in ("x", "y", "width"))
    shown = 0
    for strokes in desk.drawings:
        points = (0.02 + strokes[0] / 270) * side + (left, top)
        page.run("document.getElementById('clear').click()")
        page.run(_ANSWERED)
        mouse = partial(page.send, "Input.dispatchMouseEvent", button="left", clickCount=1)
        mouse(type="mousePressed", x=points[0, 0], y=points[0, 1])
        for x, y in points[1:].tolist():
            mouse(type="mouseMoved", x=x, y=y, buttons=1)
        mouse(type="mouseReleased", x=points[-1, 0], y=points[-1, 1])
        shown += page.run("window.answered")
    return {"shown": float(shown)}


def summed(far: list[float]) -> Values:
    """Return how many items were found, and how far they are in the mean."""
    return {"found": float(len(far)), "distance": float(np.mean(far))}


@benchmark("search", "a drawing searched in the demo's gallery", unit="drawing", units=DRAWINGS, tolerance=1e-5)
def search(small: bool) -> list[Contestant]:
    wanted = {"units": 2 if small else DRAWINGS, "wanted_ms": _WANTED_MS}
    browsed = partial(browsed_desk, small)
    return [
        Contestant("trazo, in the library", partial(desk, small), library, **wanted),
        Contestant("trazo, by its server", partial(served_desk, small), over_http, **wanted, note="with pictures"),
        Contestant("trazo, in Chromium", browsed, in_browser, comparable=False, **wanted, note="until seen"),
    ]
