import csv

import pytest
from trazo import store
from trazo.errors import InputError
from trazo.report.metrics import collect


def _part(path, **cells):
    store.write_metrics(path, [{"study": "s", "metric": "map", "value": 1 / 3, **cells}])
    return path


def test_joined_metrics_do_not_depend_on_the_order_of_their_parts(tmp_path):
    parts = [_part(tmp_path / f"{e}.csv", model="m", epoch=e) for e in (10, 9, 100)]
    collect(parts, tmp_path / "a.csv")
    collect(parts[::-1], tmp_path / "b.csv")
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    with (tmp_path / "a.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["9", "10", "100"]


def test_joining_changes_no_digit_and_no_order_of_classes(tmp_path):
    rows = [{"study": "s", "metric": "map", "class": c, "value": 0.1 + 0.2} for c in ("zebra", "ant, black", "")]
    store.write_metrics(tmp_path / "part.csv", rows)
    collect([tmp_path / "part.csv"], tmp_path / "all.csv")
    assert (tmp_path / "all.csv").read_bytes() == (tmp_path / "part.csv").read_bytes()
    assert "0.30000000000000004" in (tmp_path / "all.csv").read_text()


def test_measuring_the_same_thing_twice_is_refused(tmp_path):
    parts = [_part(tmp_path / f"{i}.csv", model="m") for i in range(2)]
    with pytest.raises(InputError, match="measures again"):
        collect(parts, tmp_path / "all.csv")
    assert not (tmp_path / "all.csv").exists()


def test_a_file_with_other_columns_is_refused(tmp_path):
    (tmp_path / "part.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match=r"part\.csv has the columns"):
        collect([tmp_path / "part.csv"], tmp_path / "all.csv")
