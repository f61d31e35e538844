"""Folders and zip archives behind one interface: names and bytes, read in place. Nothing is ever extracted.

Archives come from strangers: whatever a zip file claims is checked before a byte of it is used. What the files mean
(classes, images) is decided in `trazo.data.layouts`.
"""

from __future__ import annotations

import lzma
import os
import re
import stat
import struct
import threading
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from types import TracebackType

from trazo.errors import InputError

MOST_BYTES = 256 << 20
"""The largest file that is read out of an archive, in bytes once unpacked."""

MOST_TOTAL_BYTES = 4 << 40
"""The most an archive may hold, in bytes once unpacked."""

MOST_RATIO = 200
"""How many times its size an archive, or a file of at least `_SMALL` bytes in it, may unpack to."""

_SMALL = 32 << 20

# What `zipfile` and its decompressors are known to raise on bytes that are not as they should be.
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    ValueError,
    OverflowError,
    NotImplementedError,
    RuntimeError,
)
_JUNK_FOLDERS = {"__MACOSX", ".git", ".ipynb_checkpoints", "@eaDir"}
_JUNK_FILES = {".DS_Store", "Thumbs.db", "thumbs.db", "desktop.ini"}
_UNPACK = "unpack it and name the folder"
_AGAIN = "get it again"
_SIGNATURES = (
    (b"PK\x03\x04", "a zip archive that was cut short", _AGAIN),
    (b"\x1f\x8b", "a gzip file (.tar.gz?)", _UNPACK),
    (b"BZh", "a bzip2 file (.tar.bz2?)", _UNPACK),
    (b"\xfd7zXZ", "an xz file (.tar.xz?)", _UNPACK),
    (b"7z\xbc\xaf", "a 7z archive", _UNPACK),
    (b"Rar!", "a rar archive", _UNPACK),
    (b"\x89PNG", "a PNG image", "name the folder that it lies in"),
    (b"\xff\xd8\xff", "a JPEG image", "name the folder that it lies in"),
    (b"\x89HDF", "an HDF5 file", "features made elsewhere belong under `features:`"),
    (b"version https://git-lfs", "the note of a Git LFS file, not the file itself", "get it with `git lfs pull`"),
    (b"<", "a web page or XML document (an error page saved in its place?)", _AGAIN),
)


class ArchiveError(InputError):
    """A folder or archive that cannot be read, or must not be."""


class Archive(ABC):
    """A tree of files to read from.

    Attributes
    ----------
    path
        The folder or archive itself.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @abstractmethod
    def names(self) -> list[str]:
        """Return the names of all files but junk, sorted, folders separated by `/`."""

    @abstractmethod
    def read(self, name: str) -> bytes:
        """Return the bytes of a file; may be called from several threads.

        Raises
        ------
        ArchiveError
            If it is not there or is damaged.
        """

    @abstractmethod
    def has(self, name: str) -> bool:
        """Return whether there is a file of this name, below the listed folder or beside it."""

    @abstractmethod
    def stamp(self, name: str) -> tuple[int, int]:
        """Return (size in bytes, time of the last change or checksum) of a file: another one if it changed."""

    @abstractmethod
    def likeness(self, name: str) -> tuple[int, ...]:
        """Return what files of the same content have in common, as far as it is known without reading them."""

    def close(self) -> None:  # noqa: B027 - a folder has nothing to close
        """Let go of what is open."""

    def __enter__(self) -> Archive:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_archive(path: Path | str, inside: str = "") -> Archive:
    """Open a folder or a zip archive for reading.

    Parameters
    ----------
    path
        The folder or the archive.
    inside
        Only files below this folder of it are listed. Names stay relative to `path`.

    Raises
    ------
    ArchiveError
        If it does not exist, is neither, or is an archive with dangerous or unreadable members.
    """
    path = Path(path)
    if not path.exists():
        raise ArchiveError(f"{path} does not exist; expected a folder or a zip archive.")
    return FolderArchive(path, inside) if path.is_dir() else ZipArchive(path, inside)


def clean_folder(folder: str) -> str:
    """Return a folder's name inside an archive without `./` and trailing `/`; "" is the archive itself.

    Raises
    ------
    ArchiveError
        If it leads out of the archive.
    """
    problem = _escape(folder)
    if problem:
        raise ArchiveError(f"folder {folder!r} {problem}; give a folder inside the source, such as `train`.")
    clean = str(PurePosixPath(folder))
    return "" if clean == "." else clean


class FolderArchive(Archive):
    """A folder on disk. Symbolic links are followed, as its owner made them."""

    def __init__(self, path: Path, inside: str = "") -> None:
        super().__init__(path)
        self._inside = clean_folder(inside)
        if not (path / self._inside).is_dir():
            raise ArchiveError(f"{path} has no folder {inside!r}; check `folder`.")

    def names(self) -> list[str]:
        """Return the names of all files but junk, sorted."""
        return sorted(self._walk(self._inside, frozenset()))

    def _walk(self, folder: str, above: frozenset[tuple[int, int]]) -> Iterator[str]:
        place = self.path / folder
        try:
            status = place.stat()
            here = (status.st_dev, status.st_ino)
            if here in above:
                raise ArchiveError(f"{place} links back to a folder above it; remove the link.")
            with os.scandir(place) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except FileNotFoundError as error:
            raise ArchiveError(f"{place} is gone; it was there a moment ago.") from error
        except OSError as error:
            raise ArchiveError(f"{place} cannot be listed ({error.strerror}).") from error
        for entry in entries:
            name = f"{folder}/{entry.name}" if folder else entry.name
            if _is_junk(name):
                continue
            if entry.is_dir():
                yield from self._walk(name, above | {here})
            else:
                yield name

    def read(self, name: str) -> bytes:
        """Return the bytes of a file."""
        file = self.path / name
        try:
            size = file.stat().st_size
            if size > MOST_BYTES:
                raise ArchiveError(f"{file} has {size:,} bytes, more than the {MOST_BYTES:,} that are read as one.")
            return file.read_bytes()
        except OSError as error:
            raise ArchiveError(f"{file} cannot be read ({error.strerror}).") from error

    def has(self, name: str) -> bool:
        """Return whether there is a file of this name."""
        return not _escape(name) and (self.path / name).is_file()

    def likeness(self, name: str) -> tuple[int, ...]:
        """Return (size in bytes,)."""
        return self.stamp(name)[:1]

    def stamp(self, name: str) -> tuple[int, int]:
        """Return (size in bytes, time of the last change in nanoseconds)."""
        try:
            status = (self.path / name).stat()
        except OSError as error:
            raise ArchiveError(f"{self.path / name} cannot be read ({error.strerror}).") from error
        return status.st_size, status.st_mtime_ns


class ZipArchive(Archive):
    """A zip archive, every member of which was checked when it was opened."""

    def __init__(self, path: Path, inside: str = "") -> None:
        super().__init__(path)
        inside = clean_folder(inside)
        try:
            self._file = zipfile.ZipFile(path)
        except OSError as error:
            raise ArchiveError(f"{path} cannot be read ({error.strerror or error}).") from error
        except _DAMAGE as error:
            kind, advice = _kind_of(path)
            raise ArchiveError(
                f"{path} is no zip archive: it is {kind} ({error}). Expected a folder or a zip archive; {advice}."
            ) from error
        self._lock = threading.Lock()
        try:
            members = self._checked()
        except BaseException:
            self._file.close()
            raise
        self._members = members
        self._names = sorted(n for n in members if not inside or n.startswith(f"{inside}/"))

    def _checked(self) -> dict[str, zipfile.ZipInfo]:
        """Return the files by clean name; the first member that must not be there is an error."""
        members: dict[str, zipfile.ZipInfo] = {}
        total = packed = 0
        for member in self._file.infolist():
            problem = _problem(member)
            if problem:
                raise ArchiveError(
                    f"{self.path}: member {member.orig_filename!r} {problem}. Get the archive from a source you "
                    "trust, or pack it again without this member."
                )
            total += member.file_size
            packed += member.compress_size
            if member.is_dir():
                continue
            name = str(PurePosixPath(member.filename))
            if _is_junk(name):
                continue
            if name in members:
                raise ArchiveError(f"{self.path}: two members are named {name!r}; pack the archive again.")
            members[name] = member
        # Overlapping members count their shared bytes once each; the archive's own size does not lie.
        packed = min(packed, self.path.stat().st_size)
        if total > MOST_TOTAL_BYTES or (total > _SMALL and total > MOST_RATIO * packed):
            raise ArchiveError(
                f"{self.path} would unpack from {packed:,} to {total:,} bytes, which no honest archive of images "
                f"does (at most {MOST_RATIO} times its size and {MOST_TOTAL_BYTES:,} bytes are read)."
            )
        return members

    def names(self) -> list[str]:
        """Return the names of all files but junk, sorted."""
        return list(self._names)

    def read(self, name: str) -> bytes:
        """Return the bytes of a member."""
        if name not in self._members:
            raise ArchiveError(f"{self.path} has no member {name!r}.")
        member = self._members[name]
        try:
            # Threads share one file position and zipfile's count of readers.
            with self._lock, self._file.open(member) as file:
                # A bounded read unpacks no more than was declared, whatever the packed bytes hold.
                content = file.read(member.file_size + 1)
        except NotImplementedError as error:
            raise ArchiveError(f"{self.path}: {name!r} cannot be unpacked ({error}); pack it with deflate.") from error
        except (*_DAMAGE, OSError) as error:
            raise ArchiveError(f"{self.path}: {name!r} is damaged ({error or type(error).__name__}).") from error
        if len(content) != member.file_size:
            raise ArchiveError(
                f"{self.path}: {name!r} is damaged: {len(content):,} bytes instead of {member.file_size:,}."
            )
        return content

    def has(self, name: str) -> bool:
        """Return whether there is a member of this name."""
        return name in self._members

    def likeness(self, name: str) -> tuple[int, ...]:
        """Return (size in bytes, checksum)."""
        return self.stamp(name)

    def stamp(self, name: str) -> tuple[int, int]:
        """Return (size in bytes, checksum)."""
        return self._members[name].file_size, self._members[name].CRC

    def close(self) -> None:
        """Close the archive."""
        self._file.close()


def _is_junk(name: str) -> bool:
    *folders, file = name.split("/")
    return (
        file in _JUNK_FILES or file in _JUNK_FOLDERS or file.startswith("._") or not _JUNK_FOLDERS.isdisjoint(folders)
    )


def _escape(name: str) -> str:
    """Return what is dangerous about a name, or ""."""
    if "\\" in name:
        return "has a backslash, which some systems take for a folder"
    if name.startswith("/"):
        return "is an absolute path"
    if re.match(r"[A-Za-z]:", name):
        return "begins with a drive letter"
    if ".." in name.split("/"):
        return "leads out of the archive through `..`"
    if "\0" in name:
        return "has a zero byte in it"
    return ""


def _problem(member: zipfile.ZipInfo) -> str:
    """Return why a member must not be read, or ""."""
    escape = _escape(member.orig_filename)
    if escape:
        return escape
    if not member.filename.strip("/."):
        return "has no name"
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind == stat.S_IFLNK:
        return "is a link"
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is no plain file"
    if member.flag_bits & 0x1:
        return "is encrypted"
    if member.file_size > MOST_BYTES:
        return f"would unpack to {member.file_size:,} bytes; at most {MOST_BYTES:,} are read as one"
    if member.file_size > _SMALL and member.file_size > MOST_RATIO * member.compress_size:
        return (
            f"would unpack from {member.compress_size:,} to {member.file_size:,} bytes, more than {MOST_RATIO} times "
            "its size"
        )
    return ""


def _kind_of(path: Path) -> tuple[str, str]:
    """Return what a file that is no zip archive looks like, and what to do about it, for a message."""
    with path.open("rb") as file:
        head = file.read(512)
    if not head:
        return "empty", _AGAIN
    if head[257:262] == b"ustar":
        return "a tar archive", _UNPACK
    for signature, kind, advice in _SIGNATURES:
        if head.lstrip().startswith(signature):
            return kind, advice
    return "something else", "check the name, or get it again"
