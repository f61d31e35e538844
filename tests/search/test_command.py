"""The command: contact sheets, tables of hits, and mistakes told in one sentence."""

import csv
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from trazo.data.quickdraw import Drawings, read_bin, write_bin, write_ndjson
from trazo.provenance import LIBRARY
from trazo.search.__main__ import main
from trazo.search.queries import ImageQuery, drawn_query
from trazo.search.sheet import COLUMNS, draw_sheet, search_all

from .studies import HOSTILE, PLAIN, strokes_of


def run(finished, *arguments):
    main([str(finished), "--device", "cpu", "--threads", "1", *map(str, arguments)])


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(COLUMNS)
    return rows


@pytest.fixture
def sketch(tmp_path):
    image = np.full((90, 60), 255, np.uint8)
    image[20:70, 28:32] = 0
    Image.fromarray(image).save(tmp_path / "a sketch.png")
    return tmp_path / "a sketch.png"


def test_an_image_gives_a_sheet_and_a_table(finished, search, sketch, tmp_path, capsys):
    run(finished, sketch, "--top", 4, "--output", tmp_path / "out" / "what.is.found", "--method", "plain toys-test")
    paths = [tmp_path / "out" / f"what.is.found.{end}" for end in ("png", "svg", "csv")]
    assert capsys.readouterr().out.split("\n")[:3] == [str(path) for path in paths]
    with Image.open(paths[0]) as picture:
        assert picture.size[0] > 500
        assert picture.size[1] > 200
    rows = rows_of(paths[2])
    assert len(rows) == 2 * 4
    assert [row["rank"] for row in rows] == [str(rank) for rank in range(1, 5)] * 2
    assert {row["query"] for row in rows} == {"a sketch.png"}
    assert {row["distance"] for row in rows} == {"cosine", "euclidean"}
    for name in ("cosine", "euclidean"):
        method = next(
            m for m in search.methods.values() if m.name.endswith(f"plain/seed0/learn/epoch2/toys-test/none/{name}")
        )
        found = search.search(ImageQuery(sketch.read_bytes()), method, top=4)
        mine = [row for row in rows if row["distance"] == name]
        assert [(row["id"], row["class"]) for row in mine] == [(hit.item, hit.label) for hit in found.hits]
        assert [float(row["value"]) for row in mine] == [hit.distance for hit in found.hits]
    text = paths[1].read_text(encoding="utf-8")
    assert "Search in toys" in text
    # Text stays text, and names of classes are none of its markup.
    assert "<b>" not in text


def test_the_same_query_gives_the_same_files(finished, sketch, tmp_path):
    for folder in ("one", "two"):
        run(finished, sketch, "--output", tmp_path / folder / "found")
    for end in ("png", "svg", "csv"):
        assert (tmp_path / "one" / f"found.{end}").read_bytes() == (tmp_path / "two" / f"found.{end}").read_bytes()


def test_records_of_files_and_key_ids_are_queries_of_a_known_class(finished, tmp_path, capsys):
    stored = read_bin(finished / "doodles" / "toys" / "crab.bin")
    drawings = Drawings.from_strokes([strokes_of("cat"), strokes_of("cat", 7)], key_id=[11, 22])
    write_bin(tmp_path / "cat.bin", drawings)
    write_ndjson(tmp_path / "two.ndjson", drawings, "cat")
    queries = (f"{tmp_path / 'cat.bin'}:22", tmp_path / "two.ndjson", stored.key_id[0])
    run(finished, *queries, "--output", tmp_path / "found", "--method", "plain toys-test euclidean")
    rows = rows_of(tmp_path / "found.csv")
    asked = list(dict.fromkeys((row["query"], row["query_class"]) for row in rows))
    assert [label for _, label in asked] == ["cat", "two", "two", "crab"]
    assert [name for name, _ in asked][:3] == ["cat/1-22", "two/0-11", "two/1-22"]
    assert asked[3][0].endswith(f"-{stored.key_id[0]}")


def test_right_and_wrong_are_marked_where_the_class_is_known(search):
    known = search.item("toys/test", 0)
    unknown = drawn_query(strokes_of("cat"))
    method = search.method(f"{PLAIN.origin}/toys-test/none/euclidean")
    shown = search_all(search, [known, unknown], [method], 8)
    words = [[text.get_text() for text in draw_sheet(search, [row]).canvas.axes[0].texts] for row in shown]
    right = sum(hit.label == known.label for hit in shown[0].found.hits)
    assert sum(word.startswith("✓") for word in words[0]) == right
    assert sum(word.startswith("✗") for word in words[0]) == 8 - right
    assert not any(word[:1] in "✓✗" for word in words[1] if word)
    assert f"{shown[1].found.hits[0].distance:.3g}" in words[1]


def test_methods_are_listed(finished, capsys):
    run(finished, "--list")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 10
    assert all("mAP" in line for line in lines)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.png"], "nowhere.png does not exist; expected an image file"),
        (["nowhere.bin:7"], "nowhere.bin does not exist"),
        (["7"], "no drawing has the key id 7"),
        ([__file__], "test_command.py cannot be used: no image"),
        (["--method", "nothing", __file__], "unknown method 'nothing'"),
        (["--top", "0", "SKETCH"], "--top: got 0"),
        (["--method", "learn", *["SKETCH"] * 11], "11 queries by 10 methods are more than the 100 rows"),
    ],
)
def test_mistakes_are_one_sentence(finished, sketch, tmp_path, arguments, message, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        run(finished, *(sketch if argument == "SKETCH" else argument for argument in arguments))
    assert str(ended.value).startswith("error: ")
    assert message in str(ended.value)
    assert not list(tmp_path.glob("found*"))


def test_a_folder_that_is_no_study_is_told_by_the_command_itself(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "trazo.search", tmp_path], env={"PYTHONPATH": str(LIBRARY.parent)}, text=True,
        capture_output=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert "holds no rankings" in done.stderr
    assert "Traceback" not in done.stderr


def test_hostile_names_of_classes_are_drawn_as_they_are(search):
    row = next(r for r in range(18) if search.item("toys/test", r).label == HOSTILE)
    method = search.method(f"{PLAIN.origin}/toys-test/none/euclidean")
    drawing = draw_sheet(search, search_all(search, [search.item("toys/test", row)], [method], 3))
    assert HOSTILE in [text.get_text() for text in drawing.canvas.axes[0].texts]
