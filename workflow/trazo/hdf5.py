"""HDF5 files from anywhere: kept from leading a reader to other files, and from claiming more than they hold.

HDF5 has links to objects of other files, and datasets whose values lie in other files; h5py follows all of them when it
is asked for a name. What the names mean is known in `store` and `data.imports`.
"""

from __future__ import annotations

import math

import h5py

# Deflate, the densest of the usual compressions, makes a byte of at most 1032; small arrays may be denser still.
DENSEST, SMALL = 1100, 64 << 20
_MOST_SOFT_LINKS = 16


class LeadsOutError(Exception):
    """The way on which an HDF5 file leads to other files."""


class OverstatedError(Exception):
    """An array that claims to be far larger than what its file keeps of it."""


def own_dataset(file: h5py.File, name: str) -> h5py.Dataset | None:
    """Return the array at a key by hard and soft links alone, opening no other file; None if there is none.

    Raises
    ------
    LeadsOutError
        If its values, or it itself, lie in another file.
    """
    place, waiting, hops = file["/"], [name], 0
    while waiting:
        step = waiting.pop(0)
        if step in ("", "."):
            continue
        # h5py's own look-up follows external links before it tells of them.
        links = place.id.links if isinstance(place, h5py.Group) else ()
        encoded = step.encode("utf-8", "surrogateescape")
        if not links or not links.exists(encoded):
            return None
        kind = links.get_info(encoded).type
        if kind == h5py.h5l.TYPE_SOFT:
            hops += 1
            if hops > _MOST_SOFT_LINKS:
                return None
            target = links.get_val(encoded).decode("utf-8", "surrogateescape")
            place = file["/"] if target.startswith("/") else place
            waiting = [*target.split("/"), *waiting]
        elif kind == h5py.h5l.TYPE_HARD:
            place = place[step]
        else:
            raise LeadsOutError("is a link to another file")
    if not isinstance(place, h5py.Dataset):
        return None
    _need_own_values(place)
    return place


def _need_own_values(dataset: h5py.Dataset) -> None:
    if dataset.is_virtual:
        raise LeadsOutError("is a virtual dataset, whose values lie in other files")
    if dataset.external:
        raise LeadsOutError(f"keeps its values in another file ({dataset.external[0][0]})")


def overstated(declared: int, stored: int) -> bool:
    """Return whether an array of `declared` bytes cannot come from the `stored` bytes that its file keeps of it."""
    return declared > DENSEST * stored + SMALL


def need_self_contained(file: h5py.File) -> None:
    """Refuse a file that our own writers cannot have made: one that leads out of itself, or keeps less than it claims.

    Reading an array that was never filled would fill the memory instead.

    Raises
    ------
    LeadsOutError
        If a link is not a hard one, or values lie in other files.
    OverstatedError
        If an array claims far more bytes than the file keeps of it.
    """
    size = file.id.get_filesize()
    links: list[tuple[bytes, int]] = []
    # h5py loses what is raised while it visits; and what is returned would end the visit.
    file.id.links.visit(lambda name, info: links.append((name, info.type)), info=True)
    for name, kind in links:
        if kind != h5py.h5l.TYPE_HARD:
            raise LeadsOutError(f"{_shown(name)} is a link that is not the file's own")
    for name, _ in links:
        # No link leads out, so that this opens no other file.
        found = file[name]
        if isinstance(found, h5py.Dataset):
            _need_honest(found, _shown(name), size)


def _need_honest(dataset: h5py.Dataset, shown: str, size: int) -> None:
    try:
        _need_own_values(dataset)
    except LeadsOutError as way:
        raise LeadsOutError(f"{shown} {way}") from None
    declared = math.prod(dataset.shape or ()) * max(1, dataset.dtype.itemsize)
    stored = min(dataset.id.get_storage_size(), size)
    if overstated(declared, stored):
        raise OverstatedError(
            f"{shown} claims {declared / (1 << 20):,.0f} MiB, and the file keeps {stored:,} bytes of it"
        )


def _shown(name: bytes) -> str:
    return repr(name.decode("utf-8", "replace"))
