"""The reference of all configuration keys, from the typed configuration itself.

`python -m trazo.reference README.md` writes it between the markers of a file; a test keeps the README in step.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from trazo.config import (
    SGD,
    Adam,
    CosineRate,
    Dataset,
    EmbeddingMap,
    Figure,
    ImportedFeatures,
    Model,
    Optimizer,
    OtherModel,
    Published,
    PublishedModel,
    RandomCategories,
    Raster,
    RateSchedule,
    Retrieval,
    Settings,
    Stage,
    StepRate,
    Study,
    Table,
)
from trazo.errors import InputError
from trazo.store import write_text

BEGIN, END = "<!-- reference: begin -->", "<!-- reference: end -->"
_SECTIONS: tuple[tuple[str, type[BaseModel]], ...] = (
    ("`config.yaml`", Settings),
    ("A study", Study),
    ("`datasets: <name>:`", Dataset),
    ("`raster:` of a dataset", Raster),
    ("`categories:` drawn at random", RandomCategories),
    ("`features: <name>:`", ImportedFeatures),
    ("`models: <name>:`", Model),
    ("`weights:` of a model, from another one", OtherModel),
    ("`stages:` of a model", Stage),
    ("`optimizer:` of a stage", Optimizer),
    ("`sgd:`", SGD),
    ("`adam:`", Adam),
    ("`schedule:` of a stage", RateSchedule),
    ("`step:`", StepRate),
    ("`cosine:`", CosineRate),
    ("`retrievals:`", Retrieval),
    ("`maps: <name>:`", EmbeddingMap),
    ("`tables: <name>:`", Table),
    ("`figures: <name>:`", Figure),
    ("`published:`", Published),
    ("`models:` of `published:`", PublishedModel),
)


def reference() -> str:
    """Return Markdown tables of every key: its type, its default, what it means."""
    return "\n".join(line for title, kind in _SECTIONS for line in _section(title, kind)).strip() + "\n"


def _section(title: str, kind: type[BaseModel]) -> Iterator[str]:
    yield f"\n**{title}**\n"
    yield "| key | type | default | meaning |"
    yield "| --- | --- | --- | --- |"
    for name, field in kind.model_fields.items():
        cells = [f"`{name}`", _type(field.annotation), _default(field), field.description or ""]
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is None or value is PydanticUndefined or value in ("", {}, []):
        return "–"
    if isinstance(value, BaseModel):
        return "its defaults"
    return f"`{_plain(value)}`"


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(_plain(v) for v in value)}]"
    return str(value)


def _type(annotation: Any) -> str:
    origin, inside = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " or ".join(f"`{_plain(value)}`" for value in inside)
    if origin is list or origin is tuple:
        return f"list of {_type(inside[0])}"
    if origin is dict:
        return f"mapping to {_type(inside[1])}"
    if inside and origin is not None and (origin is Union or str(origin) == "<class 'types.UnionType'>"):
        return " or ".join(_type(part) for part in inside if part is not type(None))
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "mapping"
    names = {int: "whole number", float: "number", str: "text", bool: "true or false", Any: "anything"}
    return names.get(annotation, _type(inside[0]) if inside else "anything")


def updated(text: str) -> str:
    """Return a file's text with the reference between its markers made anew.

    Raises
    ------
    InputError
        If the markers are missing.
    """
    if BEGIN not in text or END not in text:
        raise InputError(f"expected the lines {BEGIN} and {END} in the file.")
    head, _, rest = text.partition(BEGIN)
    return f"{head}{BEGIN}\n\n{reference()}\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    for name in sys.argv[1:]:
        write_text(name, updated(Path(name).read_text(encoding="utf-8")))
