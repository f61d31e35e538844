"""Families of models: one whose head has a list of sizes stands for a model of each, wherever the study names it.

Works on a study as it is written, before it is checked; what is no list of sizes, or no study, stays as it is and is
refused by `config`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from trazo.errors import InputError
from trazo.sizes import equal_floats

# The options of a head that say how large its codes are.
_SIZES = ("size", "bits")
# By name of model: its members' names, and how large their codes are in float32 values of equal bytes.
Families = dict[str, dict[str, int | float | None]]


def expanded(study: Mapping[str, Any], whole: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return a study with a model `<name>-<size>` for each size that the head of `<name>` lists.

    Wherever `<name>` is one of some models, all of them stand in its place: in `models` of retrievals and maps, in
    `where.model` of tables, in the options `models` and `model` of figures. A rule of `published.models` becomes one
    for each, which also asks for rows of that size.

    Parameters
    ----------
    study
        The study as written, with whatever is laid over it.
    whole
        The study's file. Rules of `published.models` are also made for sizes that only this has, so that a smaller form
        of it can say which published rows are of models that it leaves out.

    Raises
    ------
    InputError
        If a list has a size twice or none, a head has two lists, or a member has another model's name.
    """
    families, found = _families(study), dict(study)
    if families:
        found["models"] = _members(study["models"], families)
        _rename(found, families)
    of_file = _families(whole or {})
    sized = {name: {**of_file.get(name, {}), **families.get(name, {})} for name in [*families, *of_file]}
    published = found.get("published")
    # Of a study whose file has a family and whose smaller form one model, rules are for both.
    if sized and isinstance(published, Mapping) and isinstance(published.get("models"), list):
        rules = [rule for written in published["models"] for rule in _rules(written, sized)]
        found["published"] = {**published, "models": rules}
    return found


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _families(study: Mapping[str, Any]) -> Families:
    """Return the members of all families of a study."""
    found: Families = {}
    for name, model in _mapping(study.get("models")).items():
        listed = _listed(model)
        if not listed:
            continue
        if len(listed) > 1:
            raise InputError(f"models.{name}.head: {len(listed)} lists of sizes; expected one head with one list.")
        ((head, option, values),) = listed
        where = f"models.{name}.head.{head}.{option}"
        if not values:
            raise InputError(f"{where}: an empty list; give the sizes of codes, one model each.")
        if len({str(value) for value in values}) < len(values):
            raise InputError(f"{where}: a value is listed twice in {values}; expected a model of its own for each.")
        found[str(name)] = {f"{name}-{value}": _floats(option, value) for value in values}
    return found


def _listed(model: Any) -> list[tuple[str, str, list[Any]]]:
    """Return the sizes that a model's head lists: (head, option, values)."""
    heads = _mapping(_mapping(model).get("head"))
    return [
        (head, option, given[option])
        for head, given in heads.items()
        if isinstance(given, Mapping)
        for option in _SIZES
        if isinstance(given.get(option), list)
    ]


def _floats(option: str, value: Any) -> int | float | None:
    """Return how many float32 values a size is; None for what is no size, which is refused where heads are checked."""
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if option == "size" else equal_floats(value)


def _members(models: Mapping[str, Any], families: Families) -> dict[str, Any]:
    """Return all models, families as their members, in the study's order."""
    found: dict[str, Any] = {}
    for name, model in models.items():
        members = {name: model}
        if name in families:
            ((head, option, values),) = _listed(model)
            heads = ({**model["head"], head: {**model["head"][head], option: value}} for value in values)
            members = {member: {**model, "head": each} for member, each in zip(families[name], heads, strict=True)}
        taken = sorted(set(members) & set(found))
        if taken:
            raise InputError(f"models.{name}: there is another model {taken[0]!r}; give one of them another name.")
        found |= members
    return found


def _rename(study: dict[str, Any], families: Families) -> None:
    """Put members in place of families wherever models are named, in a study whose sections may be replaced."""
    if isinstance(study.get("retrievals"), list):
        study["retrievals"] = [_with_names(each, ("models",), families) for each in study["retrievals"]]
    for section, place, keys in (
        ("maps", None, ("models",)),
        ("tables", "where", ("model",)),
        ("figures", "options", ("models", "model")),
    ):
        parts = study.get(section)
        if not isinstance(parts, Mapping):
            continue
        study[section] = {
            name: _with_names(part, keys, families)
            if place is None
            else {**part, place: _with_names(part[place], keys, families)}
            if isinstance(part, Mapping) and place in part
            else part
            for name, part in parts.items()
        }


def _with_names(part: Any, keys: Iterable[str], families: Families) -> Any:
    """Return a mapping in which lists of models, or one model, at some keys name members."""
    if not isinstance(part, Mapping):
        return part
    return {**part, **{key: _named(part[key], families) for key in keys if key in part}}


def _named(value: Any, families: Families) -> Any:
    if isinstance(value, list):
        return [name for each in value for name in (families.get(each, [each]) if isinstance(each, str) else [each])]
    if isinstance(value, str) and value in families:
        members = list(families[value])
        return members if len(members) > 1 else members[0]
    return value


def _rules(rule: Any, families: Families) -> list[Any]:
    """Return a rule of `published.models` as one for each member of the family it names, by the size of their codes."""
    name = _mapping(rule).get("model")
    if not isinstance(name, str) or name not in families:
        return [rule]
    match = _mapping(rule.get("match"))
    sizes = {member: str(size) for member, size in families[name].items() if size is not None}
    return [
        {**rule, "model": member, "match": {**match, "size": size}, "family": name}
        for member, size in sizes.items()
        if str(match.get("size", size)) == size
    ]
