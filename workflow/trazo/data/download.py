"""Downloads that survive a bad line: resumed, retried, and checked against the checksum the server gives.

What is downloaded and where it goes is the caller's to say; no other module of the library touches the network.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import http.client
import json
import os
import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import requests
import urllib3

from trazo.data.categories import QUICKDRAW_CATEGORIES
from trazo.errors import TrazoError
from trazo.registry import nearest_names
from trazo.store import write_text

_CHUNK = 1 << 18
_TIMEOUT = (15.0, 60.0)
_LONGEST_WAIT = 60.0
_WORTH_ANOTHER_TRY = {408, 425, 429, 500, 502, 503, 504}
_LINE_FAULTS = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    ConnectionError,
    TimeoutError,
)


class DownloadError(TrazoError):
    """A file that could not be downloaded; the message names the URL and says what to do."""


class _TryAgainError(Exception):
    """A fault that may pass; `after` is how many seconds the server asks to wait."""

    def __init__(self, reason: str, after: float = 0.0) -> None:
        super().__init__(reason)
        self.after = after


class _ChecksumError(_TryAgainError):
    """Everything arrived, but not as the server has it."""


@dataclass(frozen=True)
class Transfer:
    """How far a download is.

    Attributes
    ----------
    received
        Bytes that are here, those of earlier attempts included.
    total
        Bytes of the whole file, or None where the server does not say.
    rate
        Bytes a second since this call began.
    """

    received: int
    total: int | None
    rate: float

    @property
    def seconds_left(self) -> float | None:
        """Seconds to go at this rate, or None if that cannot be told."""
        return (self.total - self.received) / self.rate if self.total is not None and self.rate > 0 else None

    def __str__(self) -> str:
        words = _size(self.received)
        if self.total is not None:
            words += f" of {_size(self.total)}"
        words += f", {_size(self.rate)}/s"
        return words if self.seconds_left is None else f"{words}, {self.seconds_left:.0f} s left"


def quickdraw_url(base: str, category: str) -> str:
    """Return the URL of a category's file: .ndjson below a `simplified` folder, .bin elsewhere.

    >>> quickdraw_url("https://storage.googleapis.com/quickdraw_dataset/full/binary", "The Eiffel Tower")
    'https://storage.googleapis.com/quickdraw_dataset/full/binary/The%20Eiffel%20Tower.bin'
    """
    base = base.rstrip("/")
    suffix = ".ndjson" if base.endswith("/simplified") else ".bin"
    return f"{base}/{quote(category, safe='')}{suffix}"


def fetch(
    url: str,
    output: Path,
    *,
    md5: str | None = None,
    retries: int = 5,
    progress: Callable[[Transfer], None] | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Download a file, or what is missing of it, and put it in place once it is known to be whole.

    The bytes go to `<output>.part`. An attempt that breaks off, in this call or an earlier one, is continued as long
    as the server still has the same object (If-Range with its ETag or date); otherwise it begins anew. Proxies are
    taken from the environment.

    Parameters
    ----------
    url
        http or https.
    output
        Where the file goes.
    md5
        Expected MD5, 32 hexadecimal digits; otherwise the one in the server's headers is checked, if there is one
        (Google Cloud Storage always sends it).
    retries
        How many attempts that bring no further byte are made up for, with growing pauses between them.
    progress
        Called after every block of bytes.
    sleep
        What waits between attempts.

    Raises
    ------
    DownloadError
        If the URL is not to be had, its bytes do not have the checksum, or the retries are used up.
    """
    if urlsplit(url).scheme not in {"http", "https"} or not urlsplit(url).netloc:
        raise DownloadError(f"{url!r} is no http or https address; expected one such as https://host/folder/file.")
    if md5 is not None and not re.fullmatch(r"[0-9a-fA-F]{32}", md5):
        raise DownloadError(f"md5 is {md5!r}; expected 32 hexadecimal digits.")
    part = _Part.beside(output)
    furthest = part.received()
    failures = mismatches = 0
    meter = _Meter(progress)
    with requests.Session() as session:
        while True:
            try:
                headers = _receive(session, url, part, meter)
                _check(part, md5 or headers)
                break
            except _TryAgainError as error:
                mismatches += isinstance(error, _ChecksumError)
                reached = part.received()
                failures = 0 if reached > furthest else failures + 1
                furthest = max(furthest, reached)
                if mismatches > 1:
                    raise DownloadError(
                        f"{url}: {error}, twice; the file on the server or something on the way is damaged. Try "
                        "again later, or download it by other means and name the file as a source."
                    ) from error
                if failures > retries:
                    raise DownloadError(
                        f"{url}: {error}; gave up after {failures} attempts without progress, with "
                        f"{_size(reached)} received. Check the network (and the proxy settings) and run again: "
                        "it goes on from there."
                    ) from error
                sleep(min(_LONGEST_WAIT, max(error.after, 2.0 ** max(failures - 1, 0))))
    part.finish(output)


# --- One attempt ------------------------------------------------------------------------------------------------------


def _receive(session: requests.Session, url: str, part: _Part, meter: _Meter) -> str | None:
    """Get what is missing into the part file; return the MD5 that the server gives, if it does."""
    start = part.received()
    state = part.state(url)
    if start and (state is None or not state.validator):
        part.discard()
        start = 0
    if start and state is not None and state.total == start:
        return state.md5
    # Compressed on the way, sizes and checksums would be those of other bytes.
    headers = {"Accept-Encoding": "identity", "User-Agent": "trazo"}
    if start and state is not None:
        headers |= {"Range": f"bytes={start}-", "If-Range": state.validator}
    try:
        with session.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as response:
            return _take(response, url, part, start, state, meter)
    except _LINE_FAULTS as error:
        raise _TryAgainError(f"the connection failed ({_words(error)})") from error
    except requests.RequestException as error:
        raise DownloadError(f"{url} cannot be requested ({_words(error)}); check the address.") from error


def _take(
    response: requests.Response, url: str, part: _Part, start: int, state: _State | None, meter: _Meter
) -> str | None:
    total, resumed = _accepted(response, url, part, start)
    if not resumed:
        start = 0
        state = _State.of(response, url, total)
        part.save(state)
    elif state is None or (response.headers.get("ETag") or state.etag) != state.etag or total != state.total:
        part.discard()
        raise _TryAgainError("the file changed on the server")
    received = start
    try:
        with part.path.open("ab" if resumed else "wb") as file:
            for chunk in response.raw.stream(_CHUNK, decode_content=False):
                file.write(chunk)
                received += len(chunk)
                meter.show(received, start, total)
    except OSError as error:
        if isinstance(error, _LINE_FAULTS):
            raise
        raise DownloadError(f"{part.path} cannot be written ({error.strerror or error}); make room there.") from error
    if total is not None and received != total:
        if received > total:
            part.discard()
        raise _TryAgainError(f"the server sent {received:,} of {total:,} bytes")
    return state.md5


def _accepted(response: requests.Response, url: str, part: _Part, start: int) -> tuple[int | None, bool]:
    """Return the size of the whole file, if known, and whether what follows continues the part file."""
    status = response.status_code
    if status == 200:
        length = response.headers.get("Content-Length", "")
        return (int(length) if length.isdigit() else None), False
    if status == 206:
        span = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", response.headers.get("Content-Range", ""))
        if span and start and int(span[1]) == start:
            return (None if span[3] == "*" else int(span[3])), True
        part.discard()
        raise _TryAgainError("the server sent another part of the file than was asked for")
    if status == 416:
        part.discard()
        raise _TryAgainError("the server has less of the file than was received")
    if status in _WORTH_ANOTHER_TRY:
        after = response.headers.get("Retry-After", "")
        raise _TryAgainError(f"the server answered {status} {response.reason}", float(after) if after.isdigit() else 0)
    if status in {404, 410}:
        raise DownloadError(f"{url} does not exist ({status} {response.reason}).{_category_hint(url)}")
    raise DownloadError(
        f"{url}: the server answered {status} {response.reason}, expected the file; check the address under "
        "`sources:`, and whether it may be read without signing in."
    )


def _category_hint(url: str) -> str:
    file = unquote(urlsplit(url).path.rpartition("/")[2])
    category, _, suffix = file.rpartition(".")
    if suffix not in {"bin", "ndjson"}:
        return " Check the address under `sources:`."
    if category in QUICKDRAW_CATEGORIES:
        return f" {category!r} is a category of Quick, Draw!: check the folder's address under `sources:`."
    near = nearest_names(category, QUICKDRAW_CATEGORIES)
    hint = f" Did you mean {' or '.join(repr(name) for name in near)}?" if near else ""
    return f" {category!r} is none of the {len(QUICKDRAW_CATEGORIES)} categories of Quick, Draw!.{hint}"


# --- Checksums --------------------------------------------------------------------------------------------------------


def _given_md5(headers: Mapping[str, str]) -> str | None:
    """Return the MD5 of the whole file as the headers of its server give it, in hexadecimal digits."""
    if headers.get("x-goog-stored-content-encoding", "identity") != headers.get("Content-Encoding", "identity"):
        # Unpacked on the way out; the checksum is that of the packed bytes.
        return None
    for entry in headers.get("x-goog-hash", "").split(","):
        name, _, value = entry.strip().partition("=")
        if name == "md5":
            return _hexadecimal(value)
    if "Content-MD5" in headers:
        return _hexadecimal(headers["Content-MD5"])
    # In the object stores of Google and Amazon the ETag of a plain upload is its MD5; elsewhere it may be anything.
    store = any(name.lower().startswith(("x-goog-", "x-amz-")) for name in headers)
    encrypted = "kms" in headers.get("x-amz-server-side-encryption", "") or any(
        name.lower().startswith("x-amz-server-side-encryption-customer") for name in headers
    )
    etag = headers.get("ETag", "").strip('"').lower()
    return etag if store and not encrypted and re.fullmatch(r"[0-9a-f]{32}", etag) else None


def _hexadecimal(value: str) -> str | None:
    try:
        digest = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return None
    return digest.hex() if len(digest) == 16 else None


def _check(part: _Part, expected: str | None) -> None:
    if expected is None:
        return
    with part.path.open("rb") as file:
        found = hashlib.file_digest(file, "md5").hexdigest()
    if found != expected.lower():
        part.discard()
        raise _ChecksumError(f"its MD5 is {found}, expected {expected.lower()}")


# --- The part file ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _State:
    """What is known of the object that a part file is a part of."""

    url: str
    etag: str
    modified: str
    total: int | None
    md5: str | None

    @classmethod
    def of(cls, response: requests.Response, url: str, total: int | None) -> _State:
        headers = response.headers
        return cls(url, headers.get("ETag", ""), headers.get("Last-Modified", ""), total, _given_md5(headers))

    @property
    def validator(self) -> str:
        """What If-Range takes: a strong ETag, else the date; "" if there is neither."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.modified


@dataclass(frozen=True)
class _Part:
    """An unfinished download and the note of what it is a part of."""

    path: Path
    note: Path

    @classmethod
    def beside(cls, output: Path) -> _Part:
        output.parent.mkdir(parents=True, exist_ok=True)
        return cls(output.with_name(f"{output.name}.part"), output.with_name(f"{output.name}.part.json"))

    def received(self) -> int:
        return self.path.stat().st_size if self.path.is_file() else 0

    def state(self, url: str) -> _State | None:
        """Return what the part file is a part of, or None if it is unknown or of another URL."""
        with suppress(OSError, ValueError, TypeError):
            state = _State(**json.loads(self.note.read_text(encoding="utf-8")))
            return state if state.url == url else None
        return None

    def save(self, state: _State) -> None:
        # Old bytes must never stand beside a new note.
        self.path.unlink(missing_ok=True)
        write_text(self.note, json.dumps(asdict(state)))

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)

    def finish(self, output: Path) -> None:
        with self.path.open("rb") as file:
            os.fsync(file.fileno())
        self.path.replace(output)
        self.note.unlink(missing_ok=True)


# --- Words ------------------------------------------------------------------------------------------------------------


class _Meter:
    """Turns counts of bytes into reports of progress."""

    def __init__(self, progress: Callable[[Transfer], None] | None) -> None:
        self._progress = progress
        self._began = time.monotonic()
        self._earlier: int | None = None

    def show(self, received: int, start: int, total: int | None) -> None:
        if self._progress is None:
            return
        if self._earlier is None:
            self._earlier = start
        seconds = max(time.monotonic() - self._began, 1e-6)
        self._progress(Transfer(received, total, max(received - self._earlier, 0) / seconds))


def _size(count: float) -> str:
    return f"{count / 2**20:.1f} MiB" if count >= 2**20 else f"{count / 2**10:.0f} KiB"


def _words(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
