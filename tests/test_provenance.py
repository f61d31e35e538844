"""Fingerprints change with the meaning of code, and with nothing else."""

import importlib.metadata
import shutil
import textwrap

import pytest
from trazo.errors import InputError
from trazo.provenance import LIBRARY, code_fingerprint, describe, digest, modules_behind, versions


@pytest.fixture
def library(tmp_path):
    """A small library: `top` imports `data.raster`; `data.other` stands apart."""
    root = tmp_path / "trazo"
    (root / "data").mkdir(parents=True)
    files = {
        "__init__.py": '"""doc"""\n',
        "data/__init__.py": '"""doc"""\n',
        "data/raster.py": "from trazo.low import base\n\ndef draw():\n    return base() + 1\n",
        "data/other.py": "def unrelated():\n    return 3\n",
        "low.py": "def base():\n    return 1\n",
        "top.py": "from trazo.data import raster\n\ndef go():\n    return raster.draw()\n",
    }
    for name, text in files.items():
        (root / name).write_text(text)
    return root


def change(file, text):
    file.write_text(textwrap.dedent(text))


def test_follows_imports_transitively_and_only_them(library):
    found = modules_behind("trazo.top", root=library)
    assert set(found) == {"trazo", "trazo.data", "trazo.data.raster", "trazo.low", "trazo.top"}


@pytest.mark.parametrize(
    "text",
    [
        "def base():\n    # why\n    return 1\n",
        'def base():\n    """Return one."""\n    return 1\n',
        "def base(): return (1)\n",
        '"""Module."""\n\n\ndef base():\n\n    return 1\n',
    ],
)
def test_comments_docstrings_and_formatting_change_nothing(library, text):
    before = code_fingerprint("trazo.top", root=library)
    change(library / "low.py", text)
    assert code_fingerprint("trazo.top", root=library) == before


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("low.py", "def base():\n    return 2\n"),
        ("data/raster.py", "from trazo.low import base\n\ndef draw():\n    return base() - 1\n"),
        ("data/__init__.py", "VALUE = 1\n"),
    ],
)
def test_a_change_of_meaning_anywhere_below_changes_it(library, file, text):
    before = code_fingerprint("trazo.top", root=library)
    change(library / file, text)
    assert code_fingerprint("trazo.top", root=library) != before


def test_an_unrelated_module_changes_nothing(library):
    before = code_fingerprint("trazo.top", root=library)
    change(library / "data/other.py", "def unrelated():\n    return 4\n")
    assert code_fingerprint("trazo.top", root=library) == before


def test_only_what_is_used_of_a_module_counts(library):
    change(
        library / "low.py",
        "LIMIT = 3\n\ndef base():\n    return helper()\n\ndef helper():\n    return 1\n\ndef unused():\n    return 2\n",
    )
    before = code_fingerprint("trazo.top", root=library)
    text = (library / "low.py").read_text()
    change(library / "low.py", text.replace("return 2", "return 9"))
    assert code_fingerprint("trazo.top", root=library) == before
    for old, new in (("return 1", "return 7"), ("LIMIT = 3", "LIMIT = 4")):
        change(library / "low.py", text.replace(old, new))
        assert code_fingerprint("trazo.top", root=library) != before


def test_what_registers_itself_counts_though_nobody_names_it(library):
    change(
        library / "low.py",
        "known = {}\n\ndef register(f):\n    known[f.__name__] = f\n    return f\n\ndef base():\n    return known\n\n"
        "@register\ndef part():\n    return 1\n",
    )
    before = code_fingerprint("trazo.top", root=library)
    change(library / "low.py", (library / "low.py").read_text().replace("return 1", "return 2"))
    assert code_fingerprint("trazo.top", root=library) != before


def test_of_parts_registered_by_name_only_those_in_use_count(library):
    change(
        library / "low.py",
        "known = {}\n\ndef register(name):\n    return lambda f: known.setdefault(name, f)\n\n"
        "def base():\n    return known\n\n"
        '@register("one")\ndef first():\n    return 1\n\n@register("two")\ndef second():\n    return shared()\n\n'
        "def shared():\n    return 3\n",
    )
    text = (library / "low.py").read_text()

    def both():
        return [code_fingerprint("trazo.top", root=library, parts=p) for p in ({"trazo.low": ["one"]}, None)]

    one, every = both()
    change(library / "low.py", text.replace("return 3", "return 4"))
    assert both()[0] == one
    assert both()[1] != every
    change(library / "low.py", text + '\n@register("three")\ndef third():\n    return 5\n')
    assert both()[0] == one
    change(library / "low.py", text.replace("return 1", "return 2"))
    assert both()[0] != one


def test_two_modules_imported_under_one_name_both_count(library):
    change(library / "top.py", "import trazo.low\nimport trazo.data.other\n\ndef go():\n    return trazo.low.base()\n")
    for module, old, new in (("low.py", "return 1", "return 2"), ("data/other.py", "return 3", "return 4")):
        before = code_fingerprint("trazo.top", root=library)
        change(library / module, (library / module).read_text().replace(old, new))
        assert code_fingerprint("trazo.top", root=library) != before


def test_a_script_s_inner_imports_count(library, tmp_path):
    script = tmp_path / "step.py"
    script.write_text("if True:\n    from trazo.top import go\n    go()\n")
    before = code_fingerprint(scripts=(script,), root=library)
    change(library / "low.py", "def base():\n    return 5\n")
    assert code_fingerprint(scripts=(script,), root=library) != before


def test_what_a_function_imports_inside_itself_counts(library):
    change(library / "data/raster.py", "def draw():\n    from trazo.low import base\n    return base() + 1\n")
    before = code_fingerprint("trazo.top", root=library)
    change(library / "low.py", "def base():\n    return 8\n")
    assert code_fingerprint("trazo.top", root=library) != before


def test_a_name_that_is_passed_on_is_followed_to_where_it_is_made(library):
    change(library / "data/other.py", "from trazo.low import base\n")
    change(library / "top.py", "from trazo.data.other import base\n\ndef go():\n    return base()\n")
    before = code_fingerprint("trazo.top", root=library)
    change(library / "low.py", "def base():\n    return 8\n")
    assert code_fingerprint("trazo.top", root=library) != before


def test_relative_and_local_imports_count(library):
    change(library / "top.py", "def go():\n    from .data.raster import draw\n    return draw()\n")
    assert "trazo.low" in modules_behind("trazo.top", root=library)


def test_import_circles_end(library):
    change(library / "low.py", "import trazo.top\n\ndef base():\n    return 1\n")
    assert "trazo.low" in modules_behind("trazo.top", root=library)


def test_a_script_counts_with_what_it_imports(library, tmp_path):
    script = tmp_path / "step.py"
    script.write_text("from trazo.top import go\n\ngo()\n")
    before = code_fingerprint(scripts=(script,), root=library)
    script.write_text("# a comment\nfrom trazo.top import go\n\ngo()\n")
    assert code_fingerprint(scripts=(script,), root=library) == before
    change(library / "low.py", "def base():\n    return 5\n")
    assert code_fingerprint(scripts=(script,), root=library) != before


def test_names_what_is_missing_or_broken(library):
    with pytest.raises(InputError, match=r"trazo\.nothing"):
        code_fingerprint("trazo.nothing", root=library)
    change(library / "low.py", "def base(:\n")
    with pytest.raises(InputError, match=r"low\.py.*line 1"):
        code_fingerprint("trazo.top", root=library)


def test_digest_ignores_the_order_of_keys_and_nothing_else():
    assert digest({"a": 1, "b": [1, 2]}) == digest({"b": [1, 2], "a": 1})
    assert digest({"a": [1, 2]}) != digest({"a": [2, 1]})


def test_tables_and_rankings_are_no_matter_of_training(tmp_path):
    copy = tmp_path / "trazo"
    shutil.copytree(LIBRARY, copy, ignore=shutil.ignore_patterns("__pycache__"))
    training = code_fingerprint("trazo.training.loop", root=copy)
    report = code_fingerprint("trazo.report.tables", root=copy)
    config = copy / "config.py"
    config.write_text(
        config.read_text().replace("class Table(_Strict):", "class Table(_Strict):\n    colour: str = ''")
    )
    store = copy / "store.py"
    store.write_text(store.read_text().replace("def write_ranking(", "def write_ranking(extra, "))
    assert code_fingerprint("trazo.training.loop", root=copy) == training
    assert code_fingerprint("trazo.report.tables", root=copy) != report
    config.write_text(
        config.read_text().replace("class Stage(_Strict):", "class Stage(_Strict):\n    colour: str = ''")
    )
    assert code_fingerprint("trazo.training.loop", root=copy) != training


def test_the_real_library_separates_steps():
    images = modules_behind("trazo.data.images")
    assert "trazo.data.raster" in images
    assert not any(name.startswith(("trazo.training", "trazo.retrieval", "trazo.report")) for name in images)
    training = modules_behind("trazo.training.loop")
    assert not any(name.startswith(("trazo.data", "trazo.retrieval", "trazo.report")) for name in training)


def test_a_record_says_what_made_an_artifact():
    record = describe("train", settings={"lr": 0.1}, code="abc", seconds=1.5)
    assert record["settings"] == {"lr": 0.1}
    assert record["figures"] == {"seconds": 1.5}
    assert {"python", "numpy", "torch"} <= set(record["versions"])


@pytest.mark.parametrize(
    "name", ["umap-learn", "pynndescent", "faiss-cpu", "pytorch-metric-learning", "pillow", "safetensors"]
)
def test_versions_of_what_results_come_from_are_kept_where_it_is_installed(name):
    try:
        installed = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"{name} is not installed")
    assert versions()[name] == installed
