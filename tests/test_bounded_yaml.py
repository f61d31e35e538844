"""YAML from strangers: plain values, a bounded number of them, and no code."""

from itertools import pairwise

import pytest
import yaml
from trazo.bounded_yaml import MOST_DEPTH, MOST_VALUES, load_yaml
from trazo.config import STUDIES
from trazo.errors import InputError


def laughs(levels: int, width: int = 10) -> str:
    """A text in which every level names the one before `width` times."""
    names = [f"n{level}" for level in range(levels)]
    lines = [f"n0: &n0 [{', '.join(['x'] * width)}]"]
    lines += [f"{own}: &{own} [{', '.join([f'*{below}'] * width)}]" for below, own in pairwise(names)]
    return "\n".join(lines)


def test_what_is_plain_is_read_as_by_any_reader():
    for file in sorted(STUDIES.glob("*.yaml")):
        text = file.read_text(encoding="utf-8")
        assert load_yaml(text) == yaml.safe_load(text), file.name
    assert load_yaml("") is None
    assert load_yaml("a: &a {x: 1}\nb: {<<: *a, y: 2}\nc: {<<: *a, x: 3}") == {
        "a": {"x": 1},
        "b": {"x": 1, "y": 2},
        "c": {"x": 3},
    }


@pytest.mark.parametrize(
    "text",
    [
        '!!python/object/apply:os.system ["touch {0}"]',
        "!!python/object/new:os.system ['touch {0}']",
        "!!python/name:os.system",
        "!!python/module:os",
        "a: !run 'touch {0}'",
    ],
)
def test_a_tag_runs_nothing(tmp_path, text):
    with pytest.raises(InputError, match="could not determine a constructor for the tag"):
        load_yaml(text.format(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_aliases_are_counted_as_what_they_stand_for():
    assert 10**4 < MOST_VALUES < 10**5 * 1.2
    assert len(load_yaml(laughs(4))) == 4
    for levels in (5, 9, 40):
        with pytest.raises(InputError, match=r"in line \d+ stands for more than 100,000 values"):
            load_yaml(laughs(levels))


def test_merged_keys_are_counted_too():
    lines = ["n0: &n0 {" + ", ".join(f"k{i}: 0" for i in range(10)) + "}"]
    lines += [f"n{i}: &n{i} {{<<: [{', '.join([f'*n{i - 1}'] * 10)}]}}" for i in range(1, 9)]
    with pytest.raises(InputError, match="stands for more than"):
        load_yaml("\n".join(lines))


@pytest.mark.parametrize("text", ["&a [*a]", "a: &a {b: {c: *a}}", "? &a [*a]\n: 1"])
def test_a_value_that_holds_itself(text):
    with pytest.raises(InputError, match="in line 1 holds itself"):
        load_yaml(text)


def test_depth_is_bounded_with_and_without_aliases():
    assert load_yaml("[" * MOST_DEPTH + "]" * MOST_DEPTH)
    chained = "\n".join(["- &n0 [x]", *(f"- &n{i} [*n{i - 1}]" for i in range(1, 100))])
    for text in ("[" * (MOST_DEPTH + 1) + "]" * (MOST_DEPTH + 1), "[" * 3000, "{a: " * 3000, chained):
        with pytest.raises(InputError, match="more than 50 deep"):
            load_yaml(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\nb: 2\na: 3", "the key 'a' in line 3 stands in line 1 already"),
        ("a: " + "9" * 5000, "Exceeds the limit"),
        ("a: 2021-13-40", "month must be in"),
        ("a: \x07", "special characters are not allowed"),
        ("{[1]: 2}", "unhashable key"),
        ("#" * (4 << 20) + "x", "characters, more than"),
    ],
)
def test_what_cannot_be_read_is_said(text, words):
    with pytest.raises(InputError, match=words):
        load_yaml(text)
