"""`python -m trazo.search results/demo`: a page to draw on; with queries, a contact sheet of what is found for them."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from trazo.errors import InputError, TrazoError
from trazo.progress import log

if TYPE_CHECKING:
    from trazo.search.engine import Search
    from trazo.search.queries import Query

_STROKES = {".bin", ".ndjson"}
# A file of drawings without a key id: as many as one looks at.
_MOST_DRAWINGS = 20


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; a mistake ends it with one clear sentence."""
    given = _parser().parse_intermixed_args(arguments)
    # Read when torch is loaded: threads that wait for one another spin a little, not long. Where other programs share
    # the cores, a query takes a hundred times longer otherwise.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    from trazo.search.engine import Search

    screen = logging.StreamHandler()
    screen.setFormatter(logging.Formatter("%(message)s"))
    log.setLevel(logging.INFO)
    log.handlers[:] = [screen]
    log.propagate = False
    try:
        search = Search(given.study, device=given.device, threads=given.threads, trust=given.trust)
        if given.list:
            _list(search)
        elif given.queries:
            _find(search, given)
        else:
            from trazo.search.server import serve

            serve(search, host=given.host, port=given.port, names=given.allow, drawings=given.drawings)
    except TrazoError as error:
        sys.exit(f"error: {error}")
    finally:
        log.handlers.clear()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m trazo.search",
        description="Search a finished study by drawing, on a page of your browser; or for the queries given, of which "
        "a contact sheet (PNG, SVG) and a table (CSV) are written.",
    )
    parser.add_argument("study", type=Path, help="folder of a finished study's results, such as results/demo")
    parser.add_argument(
        "queries",
        nargs="*",
        help="an image file; a drawing of a file by its key id, FILE.bin:KEY or FILE.ndjson:KEY; a file of up to "
        f"{_MOST_DRAWINGS} drawings; or the key id of a drawing of the study or its sources",
    )
    parser.add_argument("--method", action="append", default=[], metavar="WORDS",
                        help="what to search by: all methods whose names hold these words (see --list); may be given "
                        "several times; if left out, the one of the largest mean average precision")  # fmt: skip
    parser.add_argument("--top", type=int, default=10, help="items shown for each query (10)")
    parser.add_argument("--output", type=Path, default=Path("found"), metavar="PATH",
                        help="what is written, without an ending (found: found.png, found.svg, found.csv)")  # fmt: skip
    parser.add_argument("--list", action="store_true", help="list the methods of the study, and end")
    parser.add_argument("--drawings", action="append", type=Path, default=[], metavar="PATH",
                        help="a file or folder of drawings in which key ids are looked up")  # fmt: skip
    parser.add_argument("--host", default="127.0.0.1", help="address of the page (127.0.0.1: this machine only)")
    parser.add_argument("--port", type=int, default=8765, help="its port (8765; 0: any that is free)")
    parser.add_argument("--allow", action="append", default=[], metavar="NAME",
                        help="a further name of this machine that browsers may ask for")  # fmt: skip
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="where to compute (auto)")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (all cores)")
    parser.add_argument("--trust", action="store_true",
                        help="read reducers that are saved by pickle, which may run what their files hold")  # fmt: skip
    return parser


def _list(search: Search) -> None:
    for method in search.methods.values():
        score = "" if method.score is None else f"  mAP {100 * method.score:.2f} %"
        print(f"{method.name}{f'  (cannot be searched by: {method.lacking})' if method.lacking else score}")


def _find(search: Search, given: argparse.Namespace) -> None:
    import numpy as np

    from trazo.search.methods import chosen
    from trazo.search.sheet import MOST_ROWS, search_all, write_sheet

    words = given.method or [search.method().name]
    methods = list(dict.fromkeys(method for text in words for method in chosen(search.methods, text)))
    queries = [query for text in given.queries for query in _queries(search, text, given.drawings)]
    if len(methods) * len(queries) > MOST_ROWS:
        raise InputError(
            f"{len(queries)} queries by {len(methods)} methods are more than the {MOST_ROWS} rows that one sheet "
            "shows; give fewer, or name fewer methods: --method."
        )
    if given.top < 1:
        raise InputError(f"--top: got {given.top}, expected 1 or more.")
    shown = search_all(search, queries, methods, given.top)
    for row in shown:
        kinds, counts = np.unique([hit.label for hit in row.found.hits], return_counts=True)
        order = np.argsort(-counts, kind="stable")
        told = ", ".join(f"{counts[i]} {kinds[i]}" for i in order)
        log.info("%s by %s: %s; %s", row.query.name, row.found.method.name, told, _times(row.found.milliseconds))
    for path in write_sheet(search, shown, given.output):
        print(path)


def _times(milliseconds: dict[str, float]) -> str:
    return ", ".join(f"{part} {value:.1f} ms" for part, value in milliseconds.items())


def _queries(search: Search, text: str, places: Sequence[Path]) -> list[Query]:
    """Return the queries that one word of the command line stands for."""
    from trazo.search.queries import DrawingFiles, ImageQuery, all_records

    path, _, key = text.rpartition(":")
    if path and Path(path).suffix.lower() in _STROKES:
        if not Path(path).is_file():
            raise InputError(f"{path} does not exist; expected a file of drawings.")
        return [DrawingFiles([Path(path)]).find(key)]
    file = Path(text)
    if not file.exists() and text.isdigit():
        return [search.drawing(text, places)]
    if not file.is_file():
        raise InputError(f"{text} does not exist; expected an image file, FILE.bin:KEY, or a key id.")
    if file.suffix.lower() in _STROKES:
        return list(all_records(file, _MOST_DRAWINGS))
    return [ImageQuery(file.read_bytes(), file.name)]


if __name__ == "__main__":
    main()
