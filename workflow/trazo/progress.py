"""What a person sees while a step runs: bars on a terminal, and a log file beside the results."""

from __future__ import annotations

import logging
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tqdm import tqdm

from trazo.errors import TrazoError
from trazo.printable import printable

log = logging.getLogger("trazo")


def bar(total: int, description: str, unit: str) -> tqdm:
    """Return a progress bar with rate and time left; silent where standard error is no terminal."""
    return tqdm(
        total=total, desc=description, unit=unit, file=sys.stderr, disable=not sys.stderr.isatty(), leave=False,
        dynamic_ncols=True, smoothing=0.05,
    )  # fmt: skip


def counter(description: str, unit: str) -> Callable[[int, int], None]:
    """Return a function that shows (done, total) as a progress bar."""
    shown: list[tqdm] = []

    def show(done: int, total: int) -> None:
        if not shown:
            shown.append(bar(total, description, unit))
        shown[0].update(done - shown[0].n)
        if done >= total:
            shown[0].close()

    return show


def status(description: str) -> Callable[[object], None]:
    """Return a function that shows, on one line of a terminal, whatever it is called with."""
    line = tqdm(bar_format="{desc}", file=sys.stderr, disable=not sys.stderr.isatty(), leave=False)
    return lambda state: line.set_description_str(f"{description}: {state}")


@contextmanager
def step(log_file: Path | str, title: str) -> Iterator[None]:
    """Run a step: its log goes to `log_file` and to standard error, and a mistake ends it with one clear sentence.

    An error that a user can put right (`TrazoError`) exits with its message and no traceback; any other error
    goes to the log file in full. Asked to end (SIGTERM: `scancel`, a time limit), it says so and clears up before.
    """
    screen = _BarFriendlyHandler()
    # A `%` of a title is text, not a field of the record.
    screen.setFormatter(_PrintableFormatter(f"{title.replace('%', '%%')}: %(message)s"))
    log.setLevel(logging.INFO)
    log.handlers[:] = [screen]
    log.propagate = False
    try:
        Path(log_file).parent.mkdir(parents=True, exist_ok=True)
        file: logging.Handler = _PatientFileHandler(log_file, mode="w", encoding="utf-8")
        file.setFormatter(_PrintableFormatter("%(asctime)s %(message)s"))
        log.handlers.insert(0, file)
    except OSError as error:
        # Whatever keeps the log from being written is told better where the step itself meets it.
        file = logging.NullHandler()
        log.warning("%s cannot be written (%s); what it would say is said here only", log_file, error.strerror)
    try:
        with _ends_when_asked():
            yield
    except TrazoError as error:
        log.error("error: %s", error)
        sys.exit(1)
    except Exception:
        log.exception("failed")
        sys.exit(1)
    except SystemExit as ended:
        if ended.code == _ASKED_TO_END:
            log.error("asked to end (SIGTERM); the next run goes on from what was finished")
        raise
    finally:
        file.close()
        log.handlers.clear()


# What a shell reports of a program that SIGTERM ended.
_ASKED_TO_END = 128 + signal.SIGTERM


@contextmanager
def _ends_when_asked() -> Iterator[None]:
    """Within the block, SIGTERM ends the program as `sys.exit` does: what clears up has its turn."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(*_: object) -> None:
        # Asked again once this has begun, at once.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        sys.exit(_ASKED_TO_END)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def warnings_in_the_log(library: str) -> Iterator[None]:
    """Say what a library warns of as a line of the log, where it is read, and not among other output."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        # umap-learn looks for TensorFlow, which only another of its methods needs.
        warnings.filterwarnings("ignore", category=ImportWarning)
        yield
    for text in dict.fromkeys(str(warning.message).strip() for warning in caught):
        log.warning("%s: %s", library, text)


class _PatientFileHandler(logging.FileHandler):
    """Writes what it can: on a full disk a line is lost, and the step goes on to its own error message."""

    def handleError(self, record: Any) -> None:
        """Say nothing: what could not be written is on the screen."""

    def close(self) -> None:
        """Close the file, whether or not its last lines can be written."""
        with suppress(OSError):
            super().close()


class _PrintableFormatter(logging.Formatter):
    """Lines that may hold names of files and classes from anywhere, and do nothing to a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one record as text."""
        return printable(super().format(record))


class _BarFriendlyHandler(logging.Handler):
    """Writes log lines above a running progress bar instead of through it."""

    def emit(self, record: Any) -> None:
        """Write one record."""
        tqdm.write(self.format(record), file=sys.stderr)
