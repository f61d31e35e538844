"""Layouts of image files, in a folder or a zip archive that is read in place.

The process that plans a run imports this module, so Pillow is imported only where pixels are made.
"""

from __future__ import annotations

import hashlib
import re
from abc import abstractmethod
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from trazo.archives import Archive, ArchiveError, clean_folder, open_archive
from trazo.config import Dataset
from trazo.data.categories import choose
from trazo.data.items import Items, Layout, Mapper, OpenedSource, UnreadableItemsError, block_length, registered
from trazo.data.splits import text_keys
from trazo.errors import InputError
from trazo.provenance import digest
from trazo.registry import unknown_name

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".ppm", ".pgm", ".pbm", ".pnm")
_VECTOR_SUFFIXES = (".svg",)
_MOST_PHOTOS = 32
_MOST_TOLD = 5
_MOST_ENDINGS = 3
_PACKED_SUFFIXES = {".zip", ".7z", ".rar", ".tar", ".tgz", ".gz", ".bz2", ".xz"}

Found = Mapping[str, Mapping[str, Sequence[str]]]
"""Names of images by split and class, sorted."""


class ImageLayout(Layout):
    """Image files in a folder or a zip archive; a subclass says which of them belong to which split and class."""

    keys = frozenset({"folder", "rename", "instance", "stream"})

    @abstractmethod
    def find(self, archive: Archive, dataset: Dataset) -> Found:
        """Return the images that each of the dataset's splits may take, classes under the names the source gives them.

        Raises
        ------
        InputError
            If the archive is not laid out so.
        """

    @abstractmethod
    def trunk(self, dataset: Dataset, split: str, name: str) -> str:
        """Return the beginning of an image's name that says no more than where its class lies.

        `name` is what the source calls the class.
        """

    def stamps(self, source: Path, dataset: Dataset) -> tuple[Any, ...]:
        """Return what changes when the files change that say what is where; `source` is an archive."""
        return (_stamp(source),)

    def found(self, source: Path, dataset: Dataset) -> Found:
        """Return the images that each of the dataset's splits may take, classes under the dataset's names for them.

        Raises
        ------
        InputError
            If the source is not laid out so, or the dataset asks for what the layout or the source has not.
        """
        self.check(dataset)
        if source.is_file():
            asked = dataset.model_dump_json(include={"folder", "split", "lists", "class_pattern"})
            found = _found_in_archive(self, source, self.stamps(source, dataset), asked)
        else:
            with open_archive(source, dataset.folder) as archive:
                found = self.find(archive, dataset)
        return _renamed(found, dataset.rename, source) if dataset.rename else found

    def available(self, source: Path, dataset: Dataset) -> list[str]:
        """Return the classes that have an image, sorted; one that a split lacks is an error."""
        return _in_all_splits(self.found(source, dataset), source, dataset)

    def counts(self, source: Path, dataset: Dataset) -> dict[str, dict[str, int]] | None:
        """Return how many images each class has by split, where the source gives the splits."""
        if not self.gives_splits:
            return None
        found = self.found(source, dataset)
        return {split: {name: len(images) for name, images in classes.items()} for split, classes in found.items()}

    def source_files(self, source: Path, dataset: Dataset) -> list[Path]:
        """Return the archive; of a folder nothing, whose time stamp says both too much and too little."""
        if not source.exists():
            raise ArchiveError(f"{source} does not exist; expected a folder or a zip archive.")
        return [] if source.is_dir() else [source]

    def listing_digest(self, source: Path, dataset: Dataset, split: str | None = None) -> str:
        """Return a digest of the names, sizes and times of a folder's images; "" for an archive."""
        if not source.is_dir():
            return ""
        with open_archive(source, dataset.folder) as archive:
            return _digest(self.found(source, dataset), split, archive)

    @contextmanager
    def opened(self, source: Path, dataset: Dataset, split: str) -> Iterator[OpenedSource]:
        """Open a folder or archive of images."""
        found = self.found(source, dataset)
        classes, images = _in_all_splits(found, source, dataset), found[split]
        originals = {name: original for original, name in dataset.rename.items()}
        with open_archive(source, dataset.folder) as archive:

            def items(name: str) -> Items:
                trunk = self.trunk(dataset, split, originals.get(name, name))
                return Photos(archive, dataset, images.get(name, ()), trunk)

            yield OpenedSource(classes, items)

    def overlaps(self, source: Path, dataset: Dataset) -> list[list[tuple[str, str]]]:
        """Return the images whose very bytes are in several given splits: for each, its places as (split, name)."""
        if not self.gives_splits:
            return []
        found = self.found(source, dataset)
        classes = choose(dataset.categories, _in_all_splits(found, source, dataset))
        places = [(split, name) for split in found for kind in classes for name in found[split].get(kind, ())]
        with open_archive(source, dataset.folder) as archive:
            alike = _grouped((archive.likeness(name), (split, name)) for split, name in places)
            contents = _grouped(
                (content, (split, name))
                # Empty files are damaged rather than equal.
                for likeness, group in alike.items()
                if likeness[0] and _in_several_splits(group)
                for split, name in group
                if (content := _content_digest(archive, name))
            )
        return [group for group in contents.values() if _in_several_splits(group)]


@cache
def _found_in_archive(layout: ImageLayout, source: Path, stamps: tuple[Any, ...], asked: str) -> Found:
    # Planning asks again for every job, and listing an archive of 20,000 images takes a third of a second.
    dataset = Dataset.model_validate_json(asked)
    with open_archive(source, dataset.folder) as archive:
        return layout.find(archive, dataset)


def _stamp(file: Path) -> tuple[int, int]:
    status = file.stat()
    return status.st_mtime_ns, status.st_size


def _renamed(found: Found, names: Mapping[str, str], source: Path) -> Found:
    """Return the images under other names of their classes; a class that is not there, or a name taken, is an error."""
    there = {name for of_split in found.values() for name in of_split}
    for original, name in names.items():
        if original not in there:
            raise InputError(f"{source}: rename: {unknown_name('class', original, there)}")
        if name in there - set(names):
            raise InputError(
                f"{source}: rename: {original!r} becomes {name!r}, and the source has a class {name!r} already; choose "
                "another name, or rename that one too."
            )
    return {
        split: {names.get(name, name): images for name, images in of_split.items()} for split, of_split in found.items()
    }


def _in_all_splits(found: Found, source: Path, dataset: Dataset) -> list[str]:
    """Return the names of all classes, sorted; one that the dataset asks for and a split lacks is an error."""
    classes = sorted({name for of_split in found.values() for name in of_split})
    asked = dataset.categories if isinstance(dataset.categories, list) else classes
    lacking = []
    for name in (n for n in classes if n in asked):
        without = [split for split, of_split in found.items() if name not in of_split]
        if without:
            having = [split for split in found if split not in without]
            lacking.append(f"{name!r} has images in {' and '.join(having)} and none in {' and '.join(without)}")
    if lacking:
        raise InputError(
            f"{source}: {_told(lacking)}. Add the images, or list the classes that all splits have as `categories`."
        )
    return classes


def _digest(found: Found, split: str | None, archive: Archive | None) -> str:
    """Return what stands for the images of a split, or of all, with their classes; and for their stamps."""
    entries = {
        f"{part}\0{kind}\0{name}\0{archive.stamp(name) if archive else ''}\n"
        for part in ([split] if split else found)
        for kind, images in found[part].items()
        for name in images
    }
    return hashlib.sha256("".join(sorted(entries)).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _grouped(pairs: Iterator[tuple[Any, tuple[str, str]]]) -> dict[Any, list[tuple[str, str]]]:
    groups: dict[Any, list[tuple[str, str]]] = defaultdict(list)
    for key, place in pairs:
        groups[key].append(place)
    return groups


def _in_several_splits(places: list[tuple[str, str]]) -> bool:
    return len({split for split, _ in places}) > 1


def _content_digest(archive: Archive, name: str) -> str:
    """Return what stands for a file's bytes, "" if it cannot be read: building the images names it with all others."""
    try:
        return hashlib.sha256(archive.read(name)).hexdigest()
    except ArchiveError:
        return ""


def _told(problems: list[str]) -> str:
    more = f"; and {len(problems) - _MOST_TOLD} more" if len(problems) > _MOST_TOLD else ""
    return "; ".join(problems[:_MOST_TOLD]) + more


def _place_words(archive: Archive, folder: str) -> str:
    return f"folder {folder!r} of {archive.path}" if folder else str(archive.path)


def _images_below(archive: Archive, folder: str) -> list[str]:
    """Return the names of the images below a folder, sorted."""
    within = f"{folder}/" if folder else ""
    names = [n for n in archive.names() if n.startswith(within) and n.lower().endswith(IMAGE_SUFFIXES)]
    for name in names:
        try:
            name.encode("utf-8")
        except UnicodeEncodeError as error:
            raise ArchiveError(f"{archive.path}: the name {name!r} is no UTF-8; rename the file.") from error
    return names


def _no_images(archive: Archive, folder: str) -> str:
    """Return the words for a folder without images: what is in it instead, and what helps."""
    within = f"{folder}/" if folder else ""
    endings = Counter(PurePosixPath(n).suffix.lower() or "nothing" for n in archive.names() if n.startswith(within))
    if not endings:
        return "it has no images, nor any other file"
    told = ", ".join(f"{ending} ({count:,})" for ending, count in endings.most_common(_MOST_ENDINGS))
    advice = ""
    if not endings.keys().isdisjoint(_PACKED_SUFFIXES):
        advice = ", of which archives have to be unpacked"
    elif not endings.keys().isdisjoint(_VECTOR_SUFFIXES):
        advice = ", of which drawings in SVG have to be converted, to PNG for instance"
    return f"it has no images, but files that end in {told}{advice}"


@registered("folders")
class FoldersLayout(ImageLayout):
    """`<folder>/<class>/<image>`.

    Images that lie deeper below a class count as its own; files that are no images by name are passed over, and so
    are images that lie in no class.
    """

    def find(self, archive: Archive, dataset: Dataset) -> Found:
        """Return all images by class, for every split to take its share of."""
        classes = _by_class(archive, clean_folder(dataset.folder))
        return dict.fromkeys(dataset.split, classes)

    def trunk(self, dataset: Dataset, split: str, name: str) -> str:
        """Return the folder of a class."""
        return f"{clean_folder(dataset.folder)}/{name}/".lstrip("/")


def _by_class(archive: Archive, folder: str) -> dict[str, list[str]]:
    """Return the names of the images of every class in a folder, both sorted."""
    depth = len(PurePosixPath(folder).parts)
    classes: dict[str, list[str]] = {}
    loose = 0
    for name in _images_below(archive, folder):
        parts = name.split("/")
        if len(parts) < depth + 2:
            loose += 1
            continue
        classes.setdefault(parts[depth], []).append(name)
    if not classes:
        found = f"it has {loose} images, but in no folder of a class" if loose else _no_images(archive, folder)
        raise ArchiveError(
            f"{_place_words(archive, folder)}: {found}; expected `<class>/<image>`. If the classes lie deeper, name "
            "that folder as `folder`."
        )
    return classes


@registered("split_folders")
class SplitFoldersLayout(ImageLayout):
    """`<folder>/<split>/<class>/<image>`: the splits are given. Below a split all is as in layout `folders`."""

    gives_splits = True

    def find(self, archive: Archive, dataset: Dataset) -> Found:
        """Return the images of each split's folder by class."""
        folder = clean_folder(dataset.folder)
        depth = len(PurePosixPath(folder).parts)
        parts = (name.split("/") for name in _images_below(archive, folder))
        there = {steps[depth] for steps in parts if len(steps) > depth + 1}
        for split in dataset.split:
            if split not in there:
                raise ArchiveError(
                    f"{_place_words(archive, folder)}: {unknown_name('split folder', split, there)} Expected "
                    "`<split>/<class>/<image>`; if the splits lie elsewhere, name the folder above them as `folder`."
                )
        return {split: _by_class(archive, f"{folder}/{split}".lstrip("/")) for split in dataset.split}

    def trunk(self, dataset: Dataset, split: str, name: str) -> str:
        """Return the folder of a class in a split."""
        return f"{clean_folder(dataset.folder)}/{split}/{name}/".lstrip("/")


@registered("named")
class NamedLayout(ImageLayout):
    """Images anywhere below `folder`, whose names say their class.

    Their class is what `class_pattern` finds in their path inside the source. An image in whose path it finds none is
    an error.
    """

    keys = frozenset({*ImageLayout.keys, "class_pattern"})

    def find(self, archive: Archive, dataset: Dataset) -> Found:
        """Return all images by class, for every split to take its share of."""
        folder = clean_folder(dataset.folder)
        images = _images_below(archive, folder)
        if not images:
            raise ArchiveError(f"{_place_words(archive, folder)}: {_no_images(archive, folder)}; check `folder`.")
        classes: dict[str, list[str]] = defaultdict(list)
        nameless = []
        for image in images:
            kind = _class_in(image, dataset.class_pattern)
            if kind:
                classes[kind].append(image)
            else:
                nameless.append(repr(image))
        if nameless:
            raise InputError(
                f"{archive.path}: class_pattern {dataset.class_pattern!r} finds no class in {len(nameless)} of "
                f"{len(images)} names: {_told(nameless)}. Correct it, or name the folder of the images as `folder`."
            )
        found = dict(sorted(classes.items()))
        return dict.fromkeys(dataset.split, found)

    def trunk(self, dataset: Dataset, split: str, name: str) -> str:
        """Return the folder that images lie below."""
        return f"{clean_folder(dataset.folder)}/".lstrip("/")


# Lists may have been made of the drawings that images were made of.
_SUFFIX = "|".join(map(re.escape, (*IMAGE_SUFFIXES, *_VECTOR_SUFFIXES)))
_LISTED = re.compile(rf"(?P<name>.+?({_SUFFIX}))(\s*[,\s]\s*(?P<kind>\S.*))?", re.IGNORECASE)
_CLASS_FIRST = re.compile(rf"(?P<kind>[^\s,]+)\s*[,\s]\s*(?P<name>\S.*({_SUFFIX}))", re.IGNORECASE)


@registered("listed")
class ListedLayout(ImageLayout):
    """Images anywhere below `folder`, and for each split a file that lists them: the way many sets were published.

    A list has an image a line: its name, or as much of its path as tells it from others; where no file has that name,
    one that differs in its ending alone is meant. Its class is what stands behind a blank or comma, or else what
    `class_pattern` finds in its name, or in its path inside the source. Empty lines and those that begin with `#` are
    passed over. The images that no list names are not used.
    """

    keys = frozenset({*ImageLayout.keys, "lists", "class_pattern"})
    gives_splits = True

    def entry(self, line: str) -> tuple[str, str]:
        """Return the image's name in a line of a list, and its class, "" where the line does not say it.

        Raises
        ------
        InputError
            If the line is none.
        """
        return _entry(line, _LISTED, "is no image's name, nor one with its class behind it")

    def check(self, dataset: Dataset) -> None:
        """Refuse a dataset that asks for what the layout has not, or has a split without a list."""
        super().check(dataset)
        for split in dataset.split:
            if split not in dataset.lists:
                raise InputError(
                    f"lists: there is none for split {split!r}; name the file that lists its images, such as "
                    f"lists: {{{split}: {split}.txt}}."
                )

    def trunk(self, dataset: Dataset, split: str, name: str) -> str:
        """Return the folder that images lie below."""
        return f"{clean_folder(dataset.folder)}/".lstrip("/")

    def stamps(self, source: Path, dataset: Dataset) -> tuple[Any, ...]:
        """Return what changes with the archive or with a list on disk."""
        files = [Path(name).expanduser() for name in dataset.lists.values()]
        return (*super().stamps(source, dataset), *(_stamp(file) for file in files if file.is_file()))

    def listing_digest(self, source: Path, dataset: Dataset, split: str | None = None) -> str:
        """Return a digest of what is listed, and of the sizes and times of a folder's images."""
        # A list on disk says what is taken out of an archive that stays as it was.
        return super().listing_digest(source, dataset, split) or _digest(self.found(source, dataset), split, None)

    def distant_digest(self, dataset: Dataset, split: str | None = None) -> str:
        """Return a digest of the lists on disk."""
        names = list(dataset.split)
        # A given split is compared with those before it.
        read = names if split is None else names[: names.index(split) + 1]
        files = {name: Path(dataset.lists[name]).expanduser() for name in read if name in dataset.lists}
        found = {name: hashlib.sha256(file.read_bytes()).hexdigest() for name, file in files.items() if file.is_file()}
        return digest(found) if found else ""

    def find(self, archive: Archive, dataset: Dataset) -> Found:
        """Return the images on each split's list by class."""
        folder = clean_folder(dataset.folder)
        images: dict[str, list[str]] = defaultdict(list)
        for image in _images_below(archive, folder):
            images[PurePosixPath(image).stem].append(image)
        if not images:
            raise ArchiveError(f"{_place_words(archive, folder)}: {_no_images(archive, folder)}; check `folder`.")
        taken: dict[str, str] = {}
        problems: list[str] = []
        found: dict[str, dict[str, list[str]]] = {}
        for split in dataset.split:
            classes: dict[str, list[str]] = {}
            file = dataset.lists[split]
            for number, line in enumerate(_list_text(archive, folder, file, split).splitlines(), 1):
                if not line.strip() or line.lstrip().startswith("#"):
                    continue
                where = f"{file}, line {number}"
                try:
                    name, kind = self.entry(line.strip())
                    image = _located(name, folder, images)
                    kind = kind or _class_in(name, dataset.class_pattern) or _class_in(image, dataset.class_pattern)
                    if not kind:
                        raise InputError(f"class_pattern {dataset.class_pattern!r} finds no class in {name!r}")
                    if image in taken:
                        raise InputError(f"{name!r} is listed already in {taken[image]}")
                except InputError as error:
                    problems.append(f"{where}: {error}")
                    continue
                taken[image] = where
                classes.setdefault(kind, []).append(image)
            if not classes and not problems:
                raise InputError(f"lists.{split}: {file} lists no image; expected the name of one a line.")
            found[split] = {kind: sorted(names) for kind, names in sorted(classes.items())}
        if problems:
            raise InputError(
                f"{archive.path}: {len(problems)} lines of its lists cannot be used: {_told(problems)}. Correct the "
                "lists, or `folder`, `lists` and `class_pattern`."
            )
        return found


def _list_text(archive: Archive, folder: str, file: str, split: str) -> str:
    """Return the text of a list: a file in a folder of an archive, elsewhere in the archive, or on disk."""
    inside = [str(PurePosixPath(folder) / file), str(PurePosixPath(file))]
    try:
        member = next((name for name in inside if archive.has(name)), None)
        content = archive.read(member) if member else Path(file).expanduser().read_bytes()
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"lists.{split}: {file} is no UTF-8 text (byte {error.start}); save it as such.") from error
    except OSError as error:
        raise InputError(
            f"lists.{split}: {file!r} is neither in {archive.path} (as {' or '.join(dict.fromkeys(inside))}) nor a "
            f"file on disk ({error.strerror}); correct the name."
        ) from error


def _entry(line: str, form: re.Pattern[str], otherwise: str) -> tuple[str, str]:
    """Return the image's name in a line of a list, and its class, if the line has this form."""
    parts = form.fullmatch(line)
    if parts is None:
        raise InputError(f"{line!r} {otherwise}")
    # Lists made on Windows write folders with backslashes.
    return str(PurePosixPath(parts["name"].replace("\\", "/"))), parts["kind"] or ""


def _class_in(name: str, pattern: str) -> str:
    """Return the class that a pattern finds in a name, "" if none."""
    match = re.search(pattern, name)
    return (match[1] or "") if match else ""


def _located(name: str, folder: str, images: Mapping[str, list[str]]) -> str:
    """Return the image that a list means by a name; `images` are by their files' names without ending."""
    alike = images.get(PurePosixPath(name).stem, ())
    places = [image for image in alike if f"/{image}".endswith(f"/{name}")]
    if not places:
        stem = PurePosixPath(name).with_suffix("")
        places = [image for image in alike if f"/{PurePosixPath(image).with_suffix('')}".endswith(f"/{stem}")]
    exact = [image for image in (str(PurePosixPath(folder) / name), name) if image in places]
    if not places:
        raise InputError(f"{name!r} is not there")
    if len(places) > 1 and not exact:
        raise InputError(f"{name!r} may be {' or '.join(places[:3])}; write more of its path")
    return exact[0] if exact else places[0]


@registered("ground_truth")
class GroundTruthLayout(ListedLayout):
    """As layout `listed`, but each line has the image's class, a blank or comma, and then its name."""

    keys = frozenset({*ImageLayout.keys, "lists"})

    def entry(self, line: str) -> tuple[str, str]:
        """Return the image's name in a line of a list, and its class."""
        return _entry(line, _CLASS_FIRST, "is no class with an image's name behind it")


class Photos(Items):
    """Image files of one class, by name."""

    def __init__(self, archive: Archive, dataset: Dataset, names: Sequence[str], trunk: str) -> None:
        self._archive = archive
        self._dataset = dataset
        self._names = names
        self._trunk = trunk
        # Names from the class down: the same images give the same splits wherever they were put.
        self.keys = text_keys(name.removeprefix(trunk) for name in names)

    def select(self, positions: np.ndarray) -> Photos:
        """Return the images at `positions`."""
        return Photos(self._archive, self._dataset, [self._names[i] for i in positions.tolist()], self._trunk)

    def ids(self) -> list[str]:
        """Return the paths of the images inside their source."""
        return list(self._names)

    def stamps(self) -> list[tuple[int, int]]:
        """Return of every image its size in bytes, and its time of change or checksum."""
        found: list[tuple[int, int]] = []
        unreadable: dict[str, str] = {}
        for name in self._names:
            try:
                found.append(self._archive.stamp(name))
            except ArchiveError as error:
                unreadable[name] = str(error)
            else:
                if found[-1][0] == 0:
                    unreadable[name] = "an empty file"
        if unreadable:
            raise UnreadableItemsError(unreadable)
        return found

    def pixels(self, mapper: Mapper) -> Iterator[np.ndarray]:
        """Yield the images' pixels in blocks."""
        from trazo.decode import UnreadableImageError, decode_image

        size, channels = self._dataset.size, self._dataset.channels

        def decoded(names: list[str]) -> tuple[list[np.ndarray], dict[str, str]]:
            images: list[np.ndarray] = []
            reasons: dict[str, str] = {}
            for name in names:
                try:
                    images.append(decode_image(self._archive.read(name), size=size, channels=channels))
                except (ArchiveError, UnreadableImageError) as error:
                    reasons[name] = str(error)
            return images, reasons

        unreadable: dict[str, str] = {}
        length = min(_MOST_PHOTOS, block_length(self._dataset))
        jobs = (self._names[start : start + length] for start in range(0, len(self), length))
        for images, reasons in mapper(decoded, jobs):
            unreadable.update(reasons)
            if images:
                yield np.stack(images)
        if unreadable:
            raise UnreadableItemsError(unreadable)
