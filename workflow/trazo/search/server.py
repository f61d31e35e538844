"""The page's other end: queries come in over HTTP, are searched one after the other, and go back as JSON.

Thin: what is searched and how is in `engine`. Bound to this machine unless told otherwise, it answers no other site's
page: requests have to name this machine (`Host`) and come from this page (`Origin`), and nothing is shared (no CORS).
"""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import json
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import jinja2
import numpy as np
import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from trazo.errors import InputError, TrazoError
from trazo.progress import log
from trazo.search.engine import Found, Search
from trazo.search.methods import Method
from trazo.search.pictures import Thumbnails, encoded
from trazo.search.queries import MOST_PIXELS, MOST_POINTS, ImageQuery, Query, drawn_query, parse_strokes

T = TypeVar("T")
TEMPLATES = Path(__file__).parent / "templates"
_MEGABYTE = 1 << 20
MOST_IMAGE_BYTES = 20 * _MEGABYTE
MOST_DRAWING_BYTES = 2 * _MEGABYTE
# What is too large is read to here and thrown away: a browser that is cut off while it sends shows no answer.
_MOST_DRAINED = 200 * _MEGABYTE
MOST_METHODS, MOST_TOP = 6, 60
_TOP = 12
# Nothing but its own files and the small images that answers carry.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_FOREVER = "private, max-age=31536000, immutable"


def serve(
    search: Search,
    *,
    host: str = "127.0.0.1",
    port: int = 8765,
    names: Sequence[str] = (),
    drawings: Sequence[Path] = (),
) -> None:
    """Serve the page until the process is interrupted.

    Parameters
    ----------
    search
        The study.
    host, port
        Where to listen; port 0: any that is free.
    names
        Further names of this machine that browsers may ask for.
    drawings
        Files and folders in which key ids are looked up.

    Raises
    ------
    InputError
        If it cannot listen there.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, port), family=family)
    except OSError as error:
        raise InputError(
            f"cannot listen at {host}, port {port} ({error.strerror or error}); choose another port, or --port 0 for "
            "any that is free."
        ) from error
    with listening:
        _warm_up(search)
        shown = f"[{host}]" if ":" in host else host
        if not _is_loopback(host):
            log.warning("open to whoever reaches this machine at %s", host)
        address = f"http://{shown}:{listening.getsockname()[1]}/"
        settings = uvicorn.Config(
            application(search, hosts=trusted_hosts(host, names), drawings=drawings),
            log_level="warning",
            access_log=False,
            server_header=False,
            # Whoever keeps a page open shall not keep the command from ending.
            timeout_graceful_shutdown=1,
        )
        print(f"Search page of {search.name}: {address} (Ctrl-C ends it)", flush=True)
        with suppress(KeyboardInterrupt):
            uvicorn.Server(settings).run(sockets=[listening])


def _warm_up(search: Search) -> None:
    """Search once, so that a person's first query finds everything loaded and compiled."""
    try:
        method = search.method()
        search.search(search.item(method.queries, 0), method)
    except TrazoError as error:
        # Other methods may work; of this one the page says the same.
        log.warning("%s", error)


def trusted_hosts(host: str, names: Sequence[str] = ()) -> list[str]:
    """Return the names under which browsers may ask for a page that listens at an address.

    A page of another site that has its name point to this machine (DNS rebinding) asks under its own name.
    """
    found = ["localhost", "127.0.0.1", "[::1]", *names]
    if not _is_loopback(host):
        addresses = [host, socket.gethostname(), socket.getfqdn()]
        try:
            addresses += [str(each[4][0]).partition("%")[0] for each in socket.getaddrinfo(socket.gethostname(), None)]
        except OSError:
            log.warning("the addresses of this machine are not known; name those that browsers ask for: --allow NAME")
        found += [f"[{address}]" if ":" in address else address for address in addresses]
    return list(dict.fromkeys(found))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def application(search: Search, *, hosts: Sequence[str], drawings: Sequence[Path] = ()) -> Starlette:
    """Return the page and what it asks, as an ASGI application.

    Parameters
    ----------
    search
        The study; used by one thread.
    hosts
        As `trusted_hosts` returns them.
    drawings
        As of `serve`.
    """
    served = _Served(search, drawings)
    files = {"search.css": "text/css", "search.js": "text/javascript"}
    return Starlette(
        routes=[
            Route("/", served.page),
            *(Route(f"/{name}", _file(TEMPLATES / name, media)) for name, media in files.items()),
            Route("/thumb/{version}/{dataset}/{split}/{row:int}", served.thumb),
            Route("/api/drawing", served.drawing, methods=["POST"]),
            Route("/api/image", served.image, methods=["POST"]),
            Route("/api/key", served.key, methods=["POST"]),
            Route("/api/item", served.item, methods=["POST"]),
        ],
        middleware=[
            Middleware(_SafeHeaders),
            Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False),
        ],
        exception_handlers={HTTPException: _refused, TrazoError: _refused, Exception: _failed},
        lifespan=served.lifespan,
    )


class _Served:
    """What requests are answered from."""

    def __init__(self, search: Search, drawings: Sequence[Path]) -> None:
        self._search = search
        self._drawings = list(drawings)
        # Networks, and what is held of them, are for one thread.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="search")
        self._thumbnails: dict[str, Thumbnails] = {}
        self._draw = np.random.default_rng()
        # Another run of the server may have other images under the same rows.
        self._version = secrets.token_hex(4)
        self._page = _page(search)

    @asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        """End the thread with the server."""
        yield
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def page(self, request: Request) -> Response:
        """Return the page."""
        return Response(self._page, media_type="text/html", headers={"Cache-Control": "no-cache"})

    async def thumb(self, request: Request) -> Response:
        """Return the small image of an item."""
        place = request.path_params
        reference = f"{place['dataset']}/{place['split']}"

        def made() -> tuple[str, bytes]:
            thumbnails, count = self._thumbnails_of(reference), self._search.count(reference)
            if place["row"] >= count:
                raise HTTPException(404, f"there are {count} items of {reference}, and none of this number.")
            return thumbnails.get(place["row"])

        media, content = await self._in_thread(made)
        return Response(content, media_type=media, headers={"Cache-Control": _FOREVER})

    async def drawing(self, request: Request) -> Response:
        """Answer for strokes, as JSON: {"strokes": [[[x, …], [y, …]], …]}."""
        content = await _body(request, MOST_DRAWING_BYTES, f"the drawing; it may have {MOST_POINTS:,} points")
        try:
            strokes = json.loads(content)["strokes"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise InputError('expected JSON: {"strokes": [[[x, …], [y, …]], …]}.') from error
        return await self._answer(request, lambda: drawn_query(parse_strokes(strokes)))

    async def image(self, request: Request) -> Response:
        """Answer for the bytes of an image file."""
        content = await _body(request, MOST_IMAGE_BYTES, "the image; save it smaller")
        name = request.query_params.get("name", "")[:80] or "the image"
        return await self._answer(request, lambda: ImageQuery(content, name))

    async def key(self, request: Request) -> Response:
        """Answer for the drawing with a key id."""
        await _body(request, 0, "a key id, which stands in the address")
        key = request.query_params.get("key", "")
        return await self._answer(request, lambda: self._search.drawing(key, self._drawings))

    async def item(self, request: Request) -> Response:
        """Answer for one of the study's own queries: `row` of the first method's, or any."""
        await _body(request, 0, "an item, which stands in the address")
        names = request.query_params.getlist("method")
        reference = self._search.method(names[0] if names else "").queries
        row = _whole(request, "row", -1, -1, 10**9)

        def chosen() -> Query:
            count = self._search.count(reference)
            return self._search.item(reference, int(self._draw.integers(count)) if row < 0 else row)

        return await self._answer(request, chosen)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def _answer(self, request: Request, make: Callable[[], Query]) -> Response:
        names = list(dict.fromkeys(request.query_params.getlist("method"))) or [self._search.method().name]
        if len(names) > MOST_METHODS:
            raise InputError(f"{len(names)} methods were asked for; expected up to {MOST_METHODS}.")
        top = _whole(request, "top", _TOP, 1, MOST_TOP)
        return JSONResponse(await self._in_thread(lambda: self._found(make(), names, top)))

    def _found(self, query: Query, names: Sequence[str], top: int) -> dict[str, Any]:
        asked = self._search.asking(query)
        # A query that cannot be used is an answer of its own; a method that cannot, one among others.
        seen = asked.pixels(names[0])
        media, picture = encoded(seen)
        found: list[dict[str, Any]] = []
        for name in names:
            try:
                found.append(self._told(asked.by(name, top), query))
            except TrazoError as error:
                found.append({"method": name, "error": str(error)})
        return {
            "query": {
                "name": query.name,
                "label": query.label,
                "picture": f"data:{media};base64,{base64.b64encode(picture).decode('ascii')}",
                "size": list(seen.shape[1::-1]),
            },
            "found": found,
        }

    def _told(self, found: Found, query: Query) -> dict[str, Any]:
        """Return what a method found as plain values."""
        method = found.method
        self._thumbnails_of(method.gallery).prepare([hit.row for hit in found.hits])
        folder = f"thumb/{self._version}/{quote(method.gallery)}"
        return {
            "method": method.name,
            "hits": [
                {
                    "id": hit.item,
                    "label": hit.label,
                    # JSON has no infinity.
                    "distance": hit.distance if np.isfinite(hit.distance) else None,
                    "right": hit.label == query.label if query.label else None,
                    "thumb": f"{folder}/{hit.row}",
                }
                for hit in found.hits
            ],
            "guesses": [{"label": label, "probability": probability} for label, probability in found.guesses],
            "milliseconds": {part: round(taken, 2) for part, taken in found.milliseconds.items()},
        }

    def _thumbnails_of(self, reference: str) -> Thumbnails:
        if reference not in self._search.references:
            raise HTTPException(404, f"there are no images of {reference!r} here.")
        return self._thumbnails.setdefault(reference, Thumbnails(self._search.files.images(reference)))


def _page(search: Search) -> str:
    """Return the page, which carries what can be chosen."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    methods = list(search.methods.values())
    data = {
        "methods": [_choice(method) for method in methods],
        "best": search.method().name,
        "most": {
            "bytes": MOST_IMAGE_BYTES,
            "pixels": MOST_PIXELS,
            "points": MOST_POINTS,
            "methods": MOST_METHODS,
        },
    }
    return environment.get_template("search.html.jinja").render(study=search.name, data=data, top=_TOP)


def _choice(method: Method) -> dict[str, Any]:
    trained = f"{method.stage}, epoch {method.epoch}, seed {method.seed}" if method.stage else "made elsewhere"
    return {
        "name": method.name,
        "model": method.model,
        "trained": trained,
        "retrieval": method.retrieval,
        "queries": method.queries,
        "gallery": method.gallery,
        "reducer": method.reducer,
        "distance": method.distance,
        "folds": method.folds,
        "score": method.score,
        "lacking": method.lacking,
    }


def _file(path: Path, media: str) -> Callable[[Request], Any]:
    async def answer(request: Request) -> Response:
        return Response(path.read_bytes(), media_type=media, headers={"Cache-Control": "no-cache"})

    return answer


async def _body(request: Request, most: int, what: str) -> bytes:
    """Return what a request of this page carries, `most` bytes at most; `what` that is to be is for the message.

    Raises
    ------
    HTTPException
        If it comes from another site's page, or is larger.
    """
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        raise HTTPException(403, f"requests of {origin} are not answered; open this server's own page.")
    kept: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size <= most:
            kept.append(part)
        elif size > _MOST_DRAINED:
            break
    if size > most:
        raise HTTPException(413, f"got more than the {most / _MEGABYTE:g} MB expected of {what}.")
    return b"".join(kept)


def _whole(request: Request, name: str, default: int, low: int, high: int) -> int:
    """Return a whole number of a request's address."""
    given = request.query_params.get(name, str(default))
    try:
        value = int(given)
    except ValueError:
        value = low - 1
    if not low <= value <= high:
        raise InputError(f"{name}: got {given[:40]!r}, expected a whole number from {low} to {high}.")
    return value


def _refused(request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException):
        return JSONResponse({"error": error.detail}, status_code=error.status_code)
    return JSONResponse({"error": str(error)}, status_code=400)


def _failed(request: Request, error: Exception) -> Response:
    # The server writes the traceback to the terminal.
    return JSONResponse(
        {"error": f"the search failed ({type(error).__name__}); the terminal says more."}, status_code=500
    )


class _SafeHeaders:
    """Lays headers over every answer that keep pages of other sites from using it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        await self.app(scope, receive, sending)
