"""Claims: things of which each is used by one process at a time, shared out by locks on files.

Made for GPUs (`device.choose_device`); knows nothing of them.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from trazo.errors import InputError

# Seconds between two looks at things that are all taken.
_PATIENCE = 0.5
# Locks last as long as these files are open: to the end of the process.
_held: list[IO[str]] = []


def own_folder(name: str) -> Path:
    """Return a folder for locks in the system's temporary one, which only this user can write to.

    Raises
    ------
    InputError
        If somebody else made a folder of that name.
    """
    folder = Path(tempfile.gettempdir()) / f"{name}-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    about = folder.lstat()
    if folder.is_symlink() or about.st_uid != os.getuid() or about.st_mode & 0o022:
        raise InputError(
            f"{folder}: expected a folder that only this user can write to, and it is not; remove it, or set TMPDIR to "
            "a folder of your own."
        )
    return folder


def claim(names: Sequence[str], folder: Path | str, *, waiting: Callable[[str], None] | None = None) -> int:
    """Return the index of one of `names` that no other process has claimed, and hold it until this process ends.

    The kernel lets go of a claim when its process dies, however it dies. If all are taken, waits for the first
    that becomes free.

    Parameters
    ----------
    names
        What can be claimed, by names that are the same in every process.
    folder
        Where the locks are: a local folder, the same for all processes that share the things out.
    waiting
        Called once, with who holds them, if all are taken.

    Raises
    ------
    InputError
        If there is nothing to claim.
    """
    if not names:
        raise InputError("claim: got no names, expected at least one thing that can be claimed.")
    said = False
    while True:
        for index, name in enumerate(names):
            if _locked(Path(folder), name):
                return index
        if waiting is not None and not said:
            waiting(", ".join(f"{name} by process {_holder(Path(folder), name)}" for name in names))
            said = True
        time.sleep(_PATIENCE)


def _path(folder: Path, name: str) -> Path:
    # Names are anything, file names are not.
    return folder / f"{hashlib.sha256(name.encode()).hexdigest()[:24]}.lock"


def _locked(folder: Path, name: str) -> bool:
    # Appending neither empties the file of who holds the lock, nor needs it to be there. The file is never removed: a
    # lock on a removed file would not keep anyone from making and locking another of that name.
    file = _path(folder, name).open("a+", encoding="utf-8")
    try:
        # A lock of the process, not of the open file: children that outlive it do not keep it.
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return False
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    _held.append(file)
    return True


def _holder(folder: Path, name: str) -> str:
    try:
        return _path(folder, name).read_text(encoding="utf-8") or "unknown"
    except OSError:
        return "unknown"
