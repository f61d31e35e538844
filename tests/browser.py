"""A browser for tests: headless Chromium driven over its DevTools pipe, which needs no package and opens no port.

A page keeps what it asked of the network and what it complained of.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

_FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"),
    "--remote-debugging-pipe",
]
_PATIENCE = 60.0


def browser_path() -> str | None:
    """Return where Chromium or Chrome is, None if there is none."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
    return next((path for name in names if (path := shutil.which(name))), None)


needs_browser = pytest.mark.skipif(
    browser_path() is None, reason="needs Chromium or Chrome on the PATH, which a user need not have"
)


class Browser:
    """Chromium, and the pipe to it."""

    def __init__(self, profile: Path) -> None:
        read_commands, self._commands = os.pipe()
        self._answers, write_answers = os.pipe()

        def take_pipes() -> None:
            # It reads commands from 3 and writes answers to 4; either may be the other's number now.
            pair = [fcntl.fcntl(end, fcntl.F_DUPFD, 50) for end in (read_commands, write_answers)]
            for end, place in zip(pair, (3, 4)):
                os.dup2(end, place)

        self._process = subprocess.Popen(
            [browser_path(), *_FLAGS, f"--user-data-dir={profile}", "about:blank"],
            preexec_fn=take_pipes, close_fds=False, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        for end in (read_commands, write_answers):
            os.close(end)
        self._kept, self._count = b"", 0
        self._pages: dict[str, Page] = {}

    def send(self, method: str, session: str = "", **params: Any) -> dict[str, Any]:
        """Send a command and return its result; events that come before it go to their pages."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": params, **({"sessionId": session} if session else {})}
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while (answer := self._heard(method)).get("id") != self._count:
            pass
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]

    def _heard(self, what: str) -> dict[str, Any]:
        """Return the next message; if it is an event of a page, this one has taken it in."""
        message = self._next(what)
        page = self._pages.get(message.get("sessionId", ""))
        if page and "method" in message:
            page.heard(message["method"], message["params"])
        return message

    def _next(self, what: str) -> dict[str, Any]:
        until = time.monotonic() + _PATIENCE
        while b"\0" not in self._kept:
            ready, _, _ = select.select([self._answers], [], [], max(0.0, until - time.monotonic()))
            assert ready, f"no answer to {what} within {_PATIENCE:g} seconds"
            part = os.read(self._answers, 1 << 20)
            assert part, f"the browser went away before it answered {what}"
            self._kept += part
        message, self._kept = self._kept.split(b"\0", 1)
        return json.loads(message)

    def open(self, address: str, *, width: int = 1200, height: int = 900, dark: bool = False) -> Page:
        """Open a page in a window of some size and wait until it is there."""
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = self._pages[session] = Page(self, session)
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.send(f"{domain}.enable")
        page.resize(width, height)
        page.media(dark=dark)
        page.send("Page.navigate", url=address)
        while not page.loaded:
            self._heard(address)
        return page

    def close(self) -> None:
        """End the browser."""
        os.close(self._commands)
        self._process.terminate()
        self._process.wait(timeout=_PATIENCE)
        os.close(self._answers)


class Page:
    """An open page.

    Attributes
    ----------
    errors
        What it wrote to the console as an error, and exceptions that nothing caught.
    requests
        Addresses that it asked for, those that it holds itself left out.
    loaded
        Whether all of it is there.
    """

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser, self._session = browser, session
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.loaded = False

    def heard(self, event: str, params: dict[str, Any]) -> None:
        """Take in an event."""
        if event == "Runtime.exceptionThrown":
            self.errors.append(str(params["exceptionDetails"].get("exception", params["exceptionDetails"])))
        elif event == "Runtime.consoleAPICalled" and params["type"] in ("error", "assert"):
            self.errors.append(str([one.get("value") for one in params["args"]]))
        elif event == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.errors.append(params["entry"]["text"])
        elif event == "Page.loadEventFired":
            self.loaded = True
        elif event == "Network.requestWillBeSent":
            address = params["request"]["url"]
            if not address.startswith(("data:", "blob:")):
                self.requests.append(address)

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command of the page."""
        return self._browser.send(method, self._session, **params)

    def run(self, script: str) -> Any:
        """Return the value of a JavaScript expression, waited for if it is a promise."""
        answer = self.send("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, condition: str, seconds: float = 20.0) -> None:
        """Wait until a JavaScript condition holds."""
        until = time.monotonic() + seconds
        while not self.run(f"new Promise(done => setTimeout(() => done(Boolean({condition})), 20))"):
            assert time.monotonic() < until, f"not within {seconds:g} seconds: {condition}; errors: {self.errors}"

    def resize(self, width: int, height: int) -> None:
        """Give the window another size."""
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def media(self, *, dark: bool = False, kind: str = "") -> None:
        """Choose light or dark, and screen or print."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", media=kind, features=[scheme])

    def press(self, key: str) -> None:
        """Press a key and let go of it."""
        text = {"Enter": "\r", " ": " "}.get(key, "")
        codes = {"Enter": 13, "Tab": 9, " ": 32}
        for kind in ("keyDown", "keyUp"):
            more = {"text": text} if text and kind == "keyDown" else {}
            self.send("Input.dispatchKeyEvent", type=kind, key=key, code=key if key != " " else "Space",
                      windowsVirtualKeyCode=codes.get(key, 0), **more)  # fmt: skip

    def point(self, x: float, y: float) -> None:
        """Move the mouse to a place in the window."""
        self.send("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def picture(self, path: Path, *, whole: bool = False) -> None:
        """Save what the window shows, or the whole page, as PNG."""
        answer = self.send("Page.captureScreenshot", captureBeyondViewport=whole, **(
            {"clip": {"x": 0, "y": 0, "width": self.run("innerWidth"),
                      "height": self.run("document.documentElement.scrollHeight"), "scale": 1}} if whole else {}
        ))  # fmt: skip
        Path(path).write_bytes(base64.b64decode(answer["data"]))

    def close(self) -> None:
        """Close the page."""
        self.send("Page.close")


@contextmanager
def running(profile: Path) -> Iterator[Browser]:
    """Start a browser with a new profile, and end it."""
    browser = Browser(profile)
    try:
        yield browser
    finally:
        browser.close()
