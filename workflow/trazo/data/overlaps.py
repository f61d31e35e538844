"""Whether the splits that a source gives are fit to be learned from and tested on: checked before images are built."""

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


def check_splits(*, source: Path, dataset_name: str, dataset: Dataset, output: Path, code: str) -> None:
    """Make sure that a dataset's given splits have the same classes and no item in common; write what they hold.

    Parameters
    ----------
    source
        Folder or archive that holds the raw data, laid out as `dataset.layout` says.
    dataset_name
        The dataset's name, for the record and for messages.
    dataset
        Its settings. How many items its splits take does not matter: all that are given are compared.
    output
        Where the record goes, as JSON.
    code
        Fingerprint of the step's code.

    Raises
    ------
    InputError
        If the source is not laid out so, or a class is missing from a split.
    OverlapError
        If the same content is in two splits, under whatever names.
    """
    started = time.perf_counter()
    layout = layouts.get(dataset.layout)
    shared = layout.overlaps(source, dataset)
    if shared:
        named = "; ".join(" = ".join(f"{name} ({split})" for split, name in places) for places in shared[:_MOST_NAMED])
        more = f"; and {len(shared) - _MOST_NAMED} more" if len(shared) > _MOST_NAMED else ""
        raise OverlapError(
            f"dataset {dataset_name!r}: {len(shared)} images of {source} are in more than one split: {named}{more}. "
            "What a network learned from cannot test it: remove each from all splits but one, or name the images to "
            "use in lists of your own (layout: listed)."
        )
    settings = {
        "key": {"dataset": dataset_name},
        "source": source_words(source),
        "available": layout.counts(source, dataset),
        "dataset": dataset.model_dump(mode="json"),
    }
    record = describe("splits", settings=settings, code=code, seconds=time.perf_counter() - started)
    write_text(output, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
