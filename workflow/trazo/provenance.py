"""Fingerprints of code and settings, and the record of how an artifact was made.

Snakemake does not see which modules a script imports; a rule takes `code_fingerprint` of its modules as a
parameter instead, so that a step is stale when the meaning of its code changed and only then.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import json
import platform
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from trazo.errors import InputError

PACKAGE = "trazo"
LIBRARY = Path(__file__).resolve().parent
_REPORTED = (
    "torch",
    "torchvision",
    "timm",
    "pytorch-metric-learning",
    "safetensors",
    "numpy",
    "h5py",
    "scikit-learn",
    "umap-learn",
    "pynndescent",
    "faiss-cpu",
    "pillow",
    "opencv-python-headless",
    "numba",
    "snakemake",
)


# Decorators that only wrap what they decorate. Any other may register it somewhere, so that it counts in any case.
_PLAIN_DECORATORS = {"dataclass", "cache", "lru_cache", "contextmanager", "njit", "total_ordering", "property"}
_WHOLE = "*"


@dataclass(frozen=True)
class _Part:
    """A piece of a module: its text without comments and docstrings, and what it refers to.

    `names` are names of the module; `imports` are (module, name) pairs that it imports itself.
    """

    text: str
    names: frozenset[str]
    imports: frozenset[tuple[str, str]]


@dataclass(frozen=True)
class _Module:
    """A module in pieces: definitions that count where they are used, and the rest, which always counts.

    `registered` maps the name under which a definition registers itself (`@register("cosine")`) to its own name;
    `imported` maps names to all that import statements may bind them to.
    """

    definitions: dict[str, _Part]
    registered: dict[str, str]
    rest: _Part
    imported: dict[str, frozenset[tuple[str, str]]]


def _module_file(module: str, root: Path) -> Path | None:
    """Return the source file of a dotted `module` of the library below `root`, or None if it is not one."""
    parts = module.split(".")
    if parts[0] != PACKAGE:
        return None
    folder = root.joinpath(*parts[1:])
    for file in (folder.with_suffix(".py") if len(parts) > 1 else None, folder / "__init__.py"):
        if file is not None and file.is_file():
            return file
    return None


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        first = node.body[0] if node.body else None
        value = first.value if isinstance(first, ast.Expr) else None
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            node.body = node.body[1:] or [ast.Pass()]
    return tree


def _bindings(node: ast.Import | ast.ImportFrom, package: list[str]) -> dict[str, tuple[str, str]]:
    """Return what an import statement binds: local name to (module, name in it), `*` for a whole module."""
    if isinstance(node, ast.Import):
        return {alias.asname or alias.name.partition(".")[0]: (alias.name, _WHOLE) for alias in node.names}
    base = package[: len(package) - node.level + 1] if node.level else []
    origin = ".".join([*base, *(node.module.split(".") if node.module else [])])
    return {alias.asname or alias.name: (origin, alias.name) for alias in node.names}


def _decorator_name(node: ast.expr) -> str:
    node = node.func if isinstance(node, ast.Call) else node
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _registered_name(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> str | None:
    """Return the literal name that a definition's one decorator registers it under, or None."""
    if len(node.decorator_list) != 1 or not isinstance(call := node.decorator_list[0], ast.Call):
        return None
    first = call.args[0] if call.args else None
    return first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else None


def _part(nodes: list[ast.stmt], package: list[str]) -> _Part:
    inside = [inner for node in nodes for inner in ast.walk(node)]
    names = {inner.id for inner in inside if isinstance(inner, ast.Name)}
    imports = {
        target
        for inner in inside
        if isinstance(inner, ast.Import | ast.ImportFrom)
        for target in _bindings(inner, package).values()
    }
    # Unparsed text is the same across Python versions where a dump of the tree is not.
    return _Part("\n".join(ast.unparse(node) for node in nodes), frozenset(names), frozenset(imports))


@cache
def _parsed(file: Path, module: str, stamp: tuple[int, int]) -> _Module:
    """Return a source file in pieces."""
    try:
        tree = _without_docstrings(ast.parse(file.read_text(encoding="utf-8")))
    except SyntaxError as error:
        raise InputError(f"{file} does not parse as Python (line {error.lineno}): {error.msg}.") from error
    package = module.split(".") if file.name == "__init__.py" else module.split(".")[:-1]
    definitions: dict[str, _Part] = {}
    registered: dict[str, str] = {}
    imported: dict[str, frozenset[tuple[str, str]]] = {}
    rest: list[ast.stmt] = []
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            for name, target in _bindings(node, package).items():
                imported[name] = imported.get(name, frozenset()) | {target}
            continue
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) or node.name in definitions:
            rest.append(node)
        elif all(_decorator_name(d) in _PLAIN_DECORATORS for d in node.decorator_list):
            definitions[node.name] = _part([node], package)
        elif (name := _registered_name(node)) is not None:
            definitions[node.name] = _part([node], package)
            registered[name] = node.name
        else:
            rest.append(node)
    # The imports' own text is left out: one that nobody uses means nothing, and a used one is followed.
    return _Module(definitions, registered, _part(rest, package), imported)


def _stamp(file: Path) -> tuple[int, int]:
    status = file.stat()
    return status.st_mtime_ns, status.st_size


def _pieces_behind(start: list[tuple[str, str]], root: Path, parts: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """Return all pieces of the library that pieces depend on, themselves included: "module:name" to text.

    Parameters
    ----------
    start
        (module, name) pairs; `*` for a whole module.
    root
        The library's folder.
    parts
        As in `code_fingerprint`.
    """
    found: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    waiting = list(start)
    while waiting:
        module, name = waiting.pop()
        if (module, name) in seen:
            continue
        seen.add((module, name))
        # `from trazo.data import raster` names a module, `from trazo.store import read_images` a part of one.
        if name not in ("", _WHOLE) and _module_file(f"{module}.{name}", root) is not None:
            waiting.append((f"{module}.{name}", _WHOLE))
            continue
        file = _module_file(module, root)
        if file is None:
            continue
        parsed = _parsed(file, module, _stamp(file))
        by_name = parsed.registered
        used = {by_name[n] for n in parts.get(module, by_name) if n in by_name}
        passed_over = set(by_name.values()) - used
        wanted = {n for n in parsed.definitions if n not in passed_over} if name == _WHOLE else used | {name}
        pieces = [(n, parsed.definitions[n]) for n in sorted(wanted) if n in parsed.definitions]
        waiting.extend(parsed.imported.get(name, ()))
        for label, piece in [*pieces, ("", parsed.rest)]:
            found[f"{module}:{label}"] = piece.text
            waiting.extend(piece.imports)
            waiting.extend((module, n) for n in piece.names if n in parsed.definitions)
            waiting.extend(target for n in piece.names for target in parsed.imported.get(n, ()))
        # What a module does when it is imported counts, even if nothing of it is named here; so do its packages.
        for origin, imported in (target for targets in parsed.imported.values() for target in targets):
            waiting.append((origin, ""))
            if imported != _WHOLE:
                waiting.append((f"{origin}.{imported}", ""))
        if "." in module:
            waiting.append((module.rpartition(".")[0], ""))
    return found


def modules_behind(*modules: str, root: Path = LIBRARY) -> list[str]:
    """Return the names of the library modules that `modules` import, directly or not, themselves included, sorted.

    Raises
    ------
    InputError
        If one of `modules` is not in the library.
    """
    for module in modules:
        if _module_file(module, root) is None:
            raise InputError(f"there is no module {module!r} below {root}.")
    return sorted({piece.partition(":")[0] for piece in _pieces_behind([(m, _WHOLE) for m in modules], root, {})})


def code_fingerprint(
    *modules: str,
    scripts: tuple[Path, ...] = (),
    files: tuple[Path, ...] = (),
    parts: Mapping[str, Iterable[str]] | None = None,
    root: Path = LIBRARY,
) -> str:
    """Return a digest of the meaning of library modules, of all that they depend on, and of scripts.

    Of a module that is only imported from, those functions and classes count that are used, directly or not, and all
    that runs when it is imported. Comments, docstrings and formatting leave the digest as it is.

    Parameters
    ----------
    modules
        Dotted names of library modules that a step loads by name: they count whole.
    scripts
        Files outside the library whose own code (and what it imports) counts too.
    files
        Files that are not code (templates): every byte of them counts.
    parts
        For modules whose parts register themselves by name: the names in use. The others do not count, so that a new
        objective leaves trained networks alone. A module that is not named here counts with all its parts.
    root
        The library's folder.

    Returns
    -------
    str
        16 hexadecimal digits.

    Notes
    -----
    What code reaches through strings (`globals()[name]`) or through a module that another module happens to have
    imported is not seen; nor are subclasses that a base class collects.

    Raises
    ------
    InputError
        If a module does not exist, or a file does not parse.
    """
    texts: dict[str, str] = {}
    modules_behind(*modules, root=root)
    start = [(module, _WHOLE) for module in modules]
    for script in scripts:
        parsed = _parsed(script, "__main__", _stamp(script))
        texts[f"script {script.name}"] = "\n".join([p.text for p in parsed.definitions.values()] + [parsed.rest.text])
        start.extend(target for targets in parsed.imported.values() for target in targets)
        start.extend(target for piece in [*parsed.definitions.values(), parsed.rest] for target in piece.imports)
    texts.update(_pieces_behind(start, root, parts or {}))
    for file in files:
        texts[f"file {file.name}"] = hashlib.sha256(file.read_bytes()).hexdigest()
    return digest(texts)


def digest(value: Any) -> str:
    """Return 16 hexadecimal digits that stand for a value made of plain types, whatever its keys' order."""
    text = json.dumps(value, sort_keys=True, default=str, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that decide results, as installed."""
    found = {"python": platform.python_version()}
    for name in _REPORTED:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def describe(step: str, *, settings: dict[str, Any], code: str, **figures: Any) -> dict[str, Any]:
    """Return the record that an artifact carries: what made it, from which settings, with which versions.

    Parameters
    ----------
    step
        Name of the step ("train").
    settings
        The settings the step was given: plain types only.
    code
        Fingerprint of the step's code (`code_fingerprint`).
    figures
        What the step measured of itself: seconds, images per second, peak memory in MiB, device.
    """
    return {
        "step": step,
        "settings": settings,
        "code": code,
        "versions": versions(),
        "machine": platform.machine(),
        "system": sys.platform,
        "figures": figures,
    }
