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
from functools import cache
from pathlib import Path
from typing import Any

from trazo.errors import InputError

PACKAGE = "trazo"
LIBRARY = Path(__file__).resolve().parent
_REPORTED = ("torch", "torchvision", "numpy", "h5py", "scikit-learn", "opencv-python-headless", "numba", "snakemake")


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


def _imports(tree: ast.Module, module: str, is_package: bool) -> set[str]:
    """Return the dotted names that a module's import statements may refer to, wherever they stand in it."""
    names: set[str] = set()
    package = module.split(".") if is_package else module.split(".")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*base, *(node.module.split(".") if node.module else [])])
            names.add(origin)
            # `from trazo.data import raster` may name a module as well as a function.
            names.update(f"{origin}.{alias.name}" for alias in node.names)
    return names


@cache
def _parsed(file: Path, module: str, stamp: tuple[int, int]) -> tuple[str, frozenset[str]]:
    """Return the comment-free, docstring-free text of a source file and the names it imports."""
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except SyntaxError as error:
        raise InputError(f"{file} does not parse as Python (line {error.lineno}): {error.msg}.") from error
    imported = _imports(tree, module, is_package=file.name == "__init__.py")
    # Unparsed text is the same across Python versions where a dump of the tree is not.
    return ast.unparse(_without_docstrings(tree)), frozenset(imported)


def modules_behind(*modules: str, root: Path = LIBRARY) -> dict[str, Path]:
    """Return the library modules that `modules` import, directly or not, themselves included.

    Parameters
    ----------
    modules
        Dotted names ("trazo.data.raster").
    root
        The library's folder.

    Returns
    -------
    dict
        Dotted name to source file, sorted by name. A package that a module lives in counts: Python runs it.

    Raises
    ------
    InputError
        If one of `modules` is not in the library.
    """
    found: dict[str, Path] = {}
    waiting = list(modules)
    for module in modules:
        if _module_file(module, root) is None:
            raise InputError(f"there is no module {module!r} below {root}.")
    while waiting:
        module = waiting.pop()
        file = _module_file(module, root)
        if file is None or module in found:
            continue
        found[module] = file
        waiting.extend(_parsed(file, module, _stamp(file))[1])
        if "." in module:
            waiting.append(module.rpartition(".")[0])
    return dict(sorted(found.items()))


def _stamp(file: Path) -> tuple[int, int]:
    status = file.stat()
    return status.st_mtime_ns, status.st_size


def code_fingerprint(
    *modules: str, scripts: tuple[Path, ...] = (), files: tuple[Path, ...] = (), root: Path = LIBRARY
) -> str:
    """Return a digest of the meaning of library modules, of all they import, and of scripts.

    Comments, docstrings and formatting leave it as it is; any other change alters it.

    Parameters
    ----------
    modules
        Dotted names of library modules that a step calls or loads by name.
    scripts
        Files outside the library whose own code (and library imports) count too.
    files
        Files that are not code (templates): every byte of them counts.
    root
        The library's folder.

    Returns
    -------
    str
        16 hexadecimal digits.
    """
    texts: dict[str, str] = {}
    roots = list(modules)
    for script in scripts:
        text, imported = _parsed(script, "__main__", _stamp(script))
        texts[f"script {script.name}"] = text
        roots.extend(name for name in imported if _module_file(name, root) is not None)
    for module, file in modules_behind(*roots, root=root).items():
        texts[module] = _parsed(file, module, _stamp(file))[0]
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
