"""Reading YAML that others wrote: plain values only, and no more of them than the text's length lets a reader expect.

YAML's aliases let a kilobyte stand for billions of values ("billion laughs"). What values mean is decided in `config`.
"""

from __future__ import annotations

from typing import Any

import yaml

from trazo.errors import InputError

MOST_CHARACTERS = 4 << 20
"""The longest text that is read."""

MOST_VALUES = 100_000
"""The most values that a text may stand for, aliases written out. The largest study here has some thousands."""

MOST_DEPTH = 50
"""How deep values may lie inside one another, aliases written out."""

_MERGE = "tag:yaml.org,2002:merge"
_TOO_DEEP = f"values lie more than {MOST_DEPTH} deep inside one another"


def load_yaml(text: str) -> Any:
    """Return what a YAML text stands for: mappings, lists, texts, numbers, dates, true, false and null.

    Raises
    ------
    InputError
        If it is no YAML, names objects of a programming language, has a key twice, or stands for too much.
    """
    if len(text) > MOST_CHARACTERS:
        raise InputError(f"it has {len(text):,} characters, more than the {MOST_CHARACTERS:,} that are read")
    try:
        loader = yaml.SafeLoader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _measure(node, {}, ())
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except RecursionError as error:
        raise InputError(_TOO_DEEP) from error
    # Besides errors of its own, PyYAML lets through what Python says of a date or number that is none.
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(str(error)) from error


def _measure(node: yaml.Node, known: dict[int, tuple[int, int]], above: tuple[int, ...]) -> tuple[int, int]:
    """Return how many values a node stands for and how deep they lie; an alias counts as what it stands for.

    Parameters
    ----------
    node
        The node.
    known
        What was found of others, by their identity: each is looked at once, however often it is named.
    above
        The nodes that this one lies in.
    """
    if id(node) in above:
        raise InputError(f"the value{_place(node)} holds itself")
    if id(node) in known:
        return known[id(node)]
    if isinstance(node, yaml.MappingNode):
        _need_different_keys(node)
        inner = [part for pair in node.value for part in pair]
    else:
        inner = node.value if isinstance(node, yaml.SequenceNode) else []
    found = [_measure(part, known, (*above, id(node))) for part in inner]
    values, depth = 1 + sum(count for count, _ in found), 1 + max((depth for _, depth in found), default=0)
    if depth > MOST_DEPTH:
        raise InputError(_TOO_DEEP)
    if values > MOST_VALUES:
        raise InputError(
            f"the value{_place(node)} stands for more than {MOST_VALUES:,} values, its aliases written out; no study "
            "needs as many"
        )
    known[id(node)] = values, depth
    return values, depth


def _need_different_keys(node: yaml.MappingNode) -> None:
    """Refuse a key that stands twice in one mapping: PyYAML would keep the last and say nothing."""
    first: dict[tuple[str, str], yaml.Node] = {}
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode) or key.tag == _MERGE:
            continue
        other = first.setdefault((key.tag, key.value), key)
        if other is not key:
            raise InputError(f"the key {key.value!r}{_place(key)} stands in line {other.start_mark.line + 1} already")


def _place(node: yaml.Node) -> str:
    return f" in line {node.start_mark.line + 1}" if node.start_mark else ""
