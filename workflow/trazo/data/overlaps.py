"""Whether the splits that a source gives share items: found out once, and told before images are built.

Finding out is a step of its own, which reads the whole source. What it finds stops the building of images, and not the
step itself: so the splits that have been built stay as they are when one that does not fit comes and goes.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

from trazo.config import Dataset
from trazo.data.layouts import layouts, source_words
from trazo.errors import InputError
from trazo.provenance import describe
from trazo.store import write_text

_MOST_NAMED = 5


class OverlapError(InputError):
    """Items that are in several splits of a dataset; the message names the first of them."""


def compare_splits(*, source: Path, dataset_name: str, dataset: Dataset, output: Path, code: str) -> None:
    """Write as JSON what the given splits of a dataset hold, and which items are in several of them.

    Parameters
    ----------
    source
        Folder or archive that holds the raw data, laid out as `dataset.layout` says.
    dataset_name
        The dataset's name, for the record.
    dataset
        Its settings. How many items its splits take does not matter: all that are given are compared.
    output
        Where the record goes.
    code
        Fingerprint of the step's code.

    Raises
    ------
    InputError
        If the source is not laid out so, or a class is missing from a split.
    """
    started = time.perf_counter()
    layout = layouts.get(dataset.layout)
    overlaps = layout.overlaps(source, dataset)
    settings = {
        "key": {"dataset": dataset_name},
        "source": source_words(source),
        "available": layout.counts(source, dataset),
        "dataset": dataset.model_dump(mode="json"),
    }
    record = describe("splits", settings=settings, code=code, seconds=time.perf_counter() - started)
    write_text(output, json.dumps({**record, "overlaps": overlaps}, indent=1, ensure_ascii=False) + "\n")


def refuse_overlaps(comparison: Path) -> None:
    """Raise if splits were found to have items in common.

    Parameters
    ----------
    comparison
        What `compare_splits` wrote.

    Raises
    ------
    OverlapError
        If the same content is in two splits, under whatever names.
    """
    record = json.loads(Path(comparison).read_text(encoding="utf-8"))
    overlaps, settings = record["overlaps"], record["settings"]
    if not overlaps:
        return
    named = "; ".join(" = ".join(f"{name} ({split})" for split, name in places) for places in overlaps[:_MOST_NAMED])
    more = f"; and {len(overlaps) - _MOST_NAMED} more" if len(overlaps) > _MOST_NAMED else ""
    raise OverlapError(
        f"dataset {settings['key']['dataset']!r}: {len(overlaps)} images of {settings['source']} are in more than one "
        f"split: {named}{more}. What a network learned from cannot test it: remove each from all splits but one, or "
        "name the images to use in lists of your own (layout: listed)."
    )
