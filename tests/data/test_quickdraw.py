"""The codec of Quick, Draw! files, against a parser written here from the format's description alone."""

import json
import random
import struct
from pathlib import Path

import numpy as np
import pytest
from trazo.data.quickdraw import (
    CorruptSourceError,
    Drawings,
    count_drawings,
    iter_bin,
    iter_ndjson,
    read_bin,
    read_ndjson,
    scan_bin,
    write_bin,
    write_ndjson,
)
from trazo.errors import InputError

Record = tuple[int, bytes, int, int, list[tuple[bytes, bytes]]]


class Malformed(Exception):
    pass


def parse_plainly(data: bytes) -> list[Record]:
    """Return the records of a .bin file one field after the other, or raise Malformed."""
    records: list[Record] = []
    at = 0

    def take(number: int) -> bytes:
        nonlocal at
        if at + number > len(data):
            raise Malformed
        at += number
        return data[at - number : at]

    while at < len(data):
        key_id, country, recognized, timestamp, count = struct.unpack("<Q2sbIH", take(17))
        if recognized not in (0, 1) or count == 0:
            raise Malformed
        strokes = []
        for _ in range(count):
            (points,) = struct.unpack("<H", take(2))
            if points == 0:
                raise Malformed
            strokes.append((take(points), take(points)))
        records.append((key_id, country, recognized, timestamp, strokes))
    if not records:
        raise Malformed
    return records


def pack_plainly(records: list[Record]) -> bytes:
    parts = []
    for key_id, country, recognized, timestamp, strokes in records:
        parts.append(struct.pack("<Q2sbIH", key_id, country, recognized, timestamp, len(strokes)))
        for x, y in strokes:
            parts.append(struct.pack("<H", len(x)) + x + y)
    return b"".join(parts)


def as_records(drawings: Drawings) -> list[Record]:
    country = drawings.country.view(np.uint8).reshape(-1, 2)
    return [
        (
            int(drawings.key_id[i]),
            country[i].tobytes(),
            int(drawings.recognized[i]),
            int(drawings.timestamp[i]),
            [(stroke[:, 0].tobytes(), stroke[:, 1].tobytes()) for stroke in drawings.strokes(i)],
        )
        for i in range(len(drawings))
    ]


def some_records(number: int, seed: int = 0, points: int = 12) -> list[Record]:
    rng = random.Random(seed)
    records: list[Record] = []
    for _ in range(number):
        strokes = []
        for _ in range(rng.randint(1, 5)):
            length = rng.randint(1, points)
            strokes.append((rng.randbytes(length), rng.randbytes(length)))
        country = rng.choice([b"US", b"ZZ", b"DE", b"\0\0", b"A\0"])
        records.append((rng.getrandbits(64), country, rng.randint(0, 1), rng.getrandbits(32), strokes))
    return records


@pytest.fixture
def records() -> list[Record]:
    return some_records(50)


@pytest.fixture
def bin_file(tmp_path: Path, records: list[Record]) -> Path:
    path = tmp_path / "hot air balloon.bin"
    path.write_bytes(pack_plainly(records))
    return path


def assert_same(one: Drawings, other: Drawings) -> None:
    assert as_records(one) == as_records(other)


# --- reading and writing ------------------------------------------------------------------------------


def test_a_record_worked_by_hand_is_read(tmp_path):
    path = tmp_path / "hand.bin"
    path.write_bytes(
        bytes([1, 0, 0, 0, 0, 0, 0, 128])  # key_id 2^63 + 1
        + b"CL"
        + bytes([1, 0x2A, 0, 0, 0])  # recognized, timestamp 42
        + bytes([2, 0, 2, 0, 10, 20, 30, 40, 1, 0, 255, 0])  # (10,30)-(20,40), then the dot (255,0)
    )
    drawings = read_bin(path)
    assert len(drawings) == 1
    assert drawings.key_id[0] == 2**63 + 1
    assert (drawings.country[0], drawings.recognized[0], drawings.timestamp[0]) == (b"CL", True, 42)
    assert [stroke.tolist() for stroke in drawings.strokes(0)] == [[[10, 30], [20, 40]], [[255, 0]]]


def test_all_fields_come_back_as_a_plain_parser_reads_them(bin_file, records):
    assert as_records(read_bin(bin_file)) == records


def test_writing_what_was_read_gives_the_same_bytes(bin_file, tmp_path):
    write_bin(tmp_path / "copy.bin", read_bin(bin_file))
    assert (tmp_path / "copy.bin").read_bytes() == bin_file.read_bytes()


@pytest.mark.parametrize("block", [1, 7, 50, 1000])
def test_streaming_in_blocks_yields_every_drawing_once_in_order(bin_file, records, block):
    blocks = list(iter_bin(bin_file, block))
    assert [len(b) for b in blocks[:-1]] == [block] * (len(blocks) - 1)
    assert [record for b in blocks for record in as_records(b)] == records


def test_records_across_the_boundaries_of_reads_are_whole(tmp_path, monkeypatch, records):
    path = tmp_path / "x.bin"
    path.write_bytes(pack_plainly(records))
    for size in (1, 16, 17, 100):
        monkeypatch.setattr("trazo.data.quickdraw._READ_BYTES", size)
        assert as_records(read_bin(path)) == records
        assert scan_bin(path)[-1] == path.stat().st_size


def test_the_longest_stroke_and_many_strokes_fit(tmp_path):
    long = (bytes(range(256)) * 256)[:65535]
    records = [(1, b"ZZ", 1, 0, [(long, long[::-1])]), (2, b"ZZ", 0, 0, [(b"\1", b"\2")] * 65535)]
    path = tmp_path / "long.bin"
    path.write_bytes(pack_plainly(records))
    assert as_records(read_bin(path)) == records
    write_bin(tmp_path / "copy.bin", read_bin(path))
    assert (tmp_path / "copy.bin").read_bytes() == path.read_bytes()


def test_scan_says_where_each_record_begins(bin_file, records):
    offsets = scan_bin(bin_file)
    assert offsets.dtype == np.int64
    assert np.diff(offsets).tolist() == [len(pack_plainly([record])) for record in records]
    assert count_drawings(bin_file) == len(records)


def test_reading_by_index_keeps_the_order_asked_for(bin_file, records):
    wanted = [49, 3, 3, 0]
    assert as_records(read_bin(bin_file, wanted)) == [records[i] for i in wanted]
    assert len(read_bin(bin_file, [])) == 0


@pytest.mark.parametrize("wrong", [50, -1])
def test_asking_for_a_record_that_is_not_there_says_how_many_there_are(bin_file, wrong):
    with pytest.raises(InputError, match=f"holds 50 drawings.*number {wrong} "):
        read_bin(bin_file, [0, wrong])


def test_selecting_and_concatenating_agree_with_lists(bin_file, records):
    drawings = read_bin(bin_file)
    wanted = [9, 1, 1, 40]
    assert as_records(drawings.select(wanted)) == [records[i] for i in wanted]
    assert as_records(drawings.select(slice(5, 8))) == records[5:8]
    mask = drawings.recognized
    assert as_records(drawings.select(mask)) == [record for record in records if record[2]]
    assert len(drawings.select([])) == 0
    parts = [drawings.select(slice(0, 10)), drawings.select([]), drawings.select(slice(10, 50))]
    assert_same(Drawings.concatenate(parts), drawings)
    assert len(Drawings.concatenate([])) == 0
    with pytest.raises(InputError, match="there are 50 drawings"):
        drawings.select([50])


def test_drawings_can_be_made_from_lists_of_points(tmp_path):
    drawings = Drawings.from_strokes([[[(0, 1), (2, 3)], [(255, 255)]], [[(7, 7)]]], timestamp=[1, 2])
    write_bin(tmp_path / "made.bin", drawings)
    assert parse_plainly((tmp_path / "made.bin").read_bytes()) == [
        (0, b"ZZ", 1, 1, [(b"\0\2", b"\1\3"), (b"\xff", b"\xff")]),
        (1, b"ZZ", 1, 2, [(b"\7", b"\7")]),
    ]
    for wrong in ([(0, 256)], [(0.5, 1)], [(-1, 0)], [(0, float("nan"))]):
        with pytest.raises(InputError, match="0 to 255"):
            Drawings.from_strokes([[wrong]])
    with pytest.raises(InputError, match=r"\(n, 2\)"):
        Drawings.from_strokes([[[1, 2, 3]]])


def test_arrays_that_do_not_fit_together_are_refused(bin_file):
    good = read_bin(bin_file)
    columns = {name: getattr(good, name) for name in good.__dataclass_fields__}
    for name, value in (
        ("country", good.country[1:]),
        ("first_stroke", good.first_stroke[:-1]),
        ("first_point", good.first_point[::-1]),
        ("x", good.x[1:]),
        ("y", good.y[1:]),
    ):
        with pytest.raises(InputError):
            Drawings(**columns | {name: value})


@pytest.mark.parametrize(
    ("strokes", "message"),
    [
        ([], "no drawings"),
        ([[]], "drawing 0 has 0 strokes"),
        ([[[(0, 0)]], [np.empty((0, 2), np.uint8)]], "drawing 1 has a stroke of 0 points"),
        ([[np.zeros((65536, 2), np.uint8)]], "drawing 0 has a stroke of 65536 points"),
    ],
)
def test_what_a_file_cannot_hold_is_not_written(tmp_path, strokes, message):
    for write in (write_bin, lambda path, drawings: write_ndjson(path, drawings, "cat")):
        with pytest.raises(InputError, match=message):
            write(tmp_path / "no.bin", Drawings.from_strokes(strokes))
    assert list(tmp_path.iterdir()) == []


# --- damage -------------------------------------------------------------------------------------------


def test_errors_name_file_record_and_byte(tmp_path, records):
    offset = len(pack_plainly(records[:20]))
    whole = pack_plainly(records)
    path = tmp_path / "cat.bin"

    def broken(data: bytes) -> str:
        path.write_bytes(data)
        with pytest.raises(CorruptSourceError) as caught:
            read_bin(path)
        for read in (scan_bin, count_drawings, lambda p: read_bin(p, [0])):
            with pytest.raises(CorruptSourceError):
                read(path)
        assert str(path) in str(caught.value)
        return str(caught.value)

    def changed(at: int, value: bytes) -> bytes:
        return whole[: offset + at] + value + whole[offset + at + len(value) :]

    where = f"record 20 (counted from 0), at byte {offset}"
    for message, data in (
        ("`recognized` is 7", changed(10, b"\7")),
        ("no strokes", changed(15, b"\0\0")),
        ("stroke 0 of", changed(17, b"\0\0")),
        ("too few for a record's 17-byte head", whole[: offset + 16]),
        ("cut short", whole[: offset + 17]),
        ("cut short", whole[: offset + 20]),
        ("cut short", pack_plainly(records[:20]) + struct.pack("<Q2sbIHH", 1, b"ZZ", 1, 0, 65535, 65535) + b"12"),
    ):
        problem = broken(data)
        assert message in problem
        assert where in problem
    assert f"record 50 (counted from 0), at byte {len(whole)}" in broken(whole + b"tail")
    assert "empty" in broken(b"")


def test_drawings_before_the_damage_are_streamed(tmp_path, records):
    path = tmp_path / "cut.bin"
    path.write_bytes(pack_plainly(records)[:-1])
    stream = iter_bin(path, 10)
    good = [next(stream) for _ in range(4)]
    assert [record for block in good for record in as_records(block)] == records[:40]
    with pytest.raises(CorruptSourceError, match="record 49 "):
        list(stream)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"PK\x03\x04" + bytes(100), "zip archive"),
        (b"\x1f\x8b\x08" + bytes(100), "gzip"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "PNG"),
        (b"\xff\xd8\xff\xe0" + bytes(100), "JPEG"),
        (b'{"word":"cat","countrycode":"US"}\n' * 5, "JSON"),
        (b"\n<!DOCTYPE html><html><body>404 Not Found</body></html>", "web page"),
        (b"<?xml version='1.0'?><Error><Code>NoSuchKey</Code></Error>", "XML"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS"),
    ],
)
def test_other_file_types_are_named(tmp_path, data, kind):
    path = tmp_path / "cat.bin"
    path.write_bytes(data)
    with pytest.raises(CorruptSourceError, match=kind):
        read_bin(path)


def test_a_good_file_may_begin_like_another_type(tmp_path):
    records = [(int.from_bytes(b"PK\x03\x04abcd", "little"), b"ZZ", 1, 0, [(b"\1\2", b"\3\4")])]
    path = tmp_path / "x.bin"
    path.write_bytes(pack_plainly(records))
    assert as_records(read_bin(path)) == records


def test_missing_files_and_folders_are_input_errors(tmp_path):
    for path in (tmp_path / "none.bin", tmp_path):
        with pytest.raises(InputError, match="cannot be read"):
            read_bin(path)
        with pytest.raises(InputError, match="cannot be read"):
            read_ndjson(path)
    with pytest.raises(InputError, match="at least 1"):
        list(iter_bin(tmp_path / "none.bin", 0))


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Return `data` after one to three accidents."""
    mutant = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(mutant) + 1) if mutant else 0
        kind = rng.randrange(7)
        if kind == 0 and at < len(mutant):
            mutant[at] ^= 1 << rng.randrange(8)
        elif kind == 1 and at < len(mutant):
            mutant[at] = rng.choice([0, 1, 2, 127, 128, 255])
        elif kind == 2:
            del mutant[at:]
        elif kind == 3:
            mutant[at:at] = rng.randbytes(rng.randint(1, 40))
        elif kind == 4:
            del mutant[at : at + rng.randint(1, 40)]
        elif kind == 5:
            mutant[at : at + 2] = rng.choice([b"\xff\xff", b"\0\0", b"\1\0", b"\0\1"])
        else:
            start = rng.randrange(len(mutant) + 1)
            mutant[at:at] = mutant[start : start + rng.randint(1, 60)]
    return bytes(mutant)


def test_mutated_files_give_a_clean_error_or_what_a_plain_parser_reads(tmp_path, monkeypatch):
    rng = random.Random(20170301)
    path = tmp_path / "fuzz.bin"
    refused = read = 0
    for trial in range(3000):
        # Many small reads in some trials, so that the joints between reads are fuzzed too.
        monkeypatch.setattr("trazo.data.quickdraw._READ_BYTES", 1 << 20 if trial % 3 else rng.randint(1, 64))
        data = mutate(pack_plainly(some_records(rng.randint(1, 6), seed=trial, points=8)), rng)
        path.write_bytes(data)
        try:
            expected = parse_plainly(data)
        except Malformed:
            refused += 1
            with pytest.raises(CorruptSourceError, match=r"record \d+"):
                read_bin(path)
            continue
        read += 1
        assert as_records(Drawings.concatenate(iter_bin(path, block=rng.randint(1, 4)))) == expected
    # The mutations are of both kinds, or the test would show little.
    assert refused > 500
    assert read > 500


# --- ndjson -------------------------------------------------------------------------------------------

LINE = {
    "word": "cat",
    "countrycode": "US",
    "timestamp": "2017-03-01 20:14:39.12345 UTC",
    "recognized": True,
    "key_id": "18446744073709551615",
    "drawing": [[[0, 255, 3], [4, 5, 6]], [[7], [8]]],
}


def write_lines(path: Path, *items: dict) -> Path:
    path.write_text("".join(json.dumps(item) + "\n" for item in items))
    return path


def test_an_official_simplified_line_is_read(tmp_path):
    drawings = read_ndjson(write_lines(tmp_path / "cat.ndjson", LINE))
    # 2017-03-01 20:14:39 UTC is 17226 days and 72879 seconds after the epoch.
    assert as_records(drawings) == [
        (2**64 - 1, b"US", 1, 17226 * 86400 + 72879, [(b"\x00\xff\x03", b"\x04\x05\x06"), (b"\x07", b"\x08")])
    ]


def test_ndjson_and_bin_hold_the_same_drawings(tmp_path):
    records = [(k, b"CL", r, t, s) for k, _, r, t, s in some_records(30)]
    path = tmp_path / "a.bin"
    path.write_bytes(pack_plainly(records))
    write_ndjson(tmp_path / "a.ndjson", read_bin(path), "hot air balloon")
    assert as_records(read_ndjson(tmp_path / "a.ndjson")) == records
    assert [len(block) for block in iter_ndjson(tmp_path / "a.ndjson", 8)] == [8, 8, 8, 6]
    assert count_drawings(tmp_path / "a.ndjson") == 30
    first = json.loads((tmp_path / "a.ndjson").read_text().splitlines()[0])
    assert first["word"] == "hot air balloon"
    assert sorted(first) == sorted(LINE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"drawing": [[[0, 256], [1, 2]]]}, "coordinate 256"),
        ({"drawing": [[[0, -1], [1, 2]]]}, "coordinate -1"),
        ({"drawing": [[[0, 1.5], [1, 2]]]}, "coordinate 1.5"),
        ({"drawing": [[[0, True], [1, 2]]]}, "coordinate True"),
        ({"drawing": [[[0, "1"], [1, 2]]]}, "coordinate '1'"),
        ({"drawing": [[[0, 1], [1, 2]], [[0, 1], [1]]]}, "stroke 1 has 2 x and 1 y"),
        ({"drawing": [[[0.5, 1], [1, 2], [0, 16]]]}, "raw format"),
        ({"drawing": [[[], []]]}, "0 points"),
        ({"drawing": []}, "1 to 65535 strokes"),
        ({"drawing": "M0 0"}, "1 to 65535 strokes"),
        ({"drawing": [[1, 2]]}, "stroke 0 must be"),
        ({"key_id": 5}, "`key_id`"),
        ({"key_id": "18446744073709551616"}, "`key_id`"),
        ({"countrycode": "USA"}, "`countrycode`"),
        ({"countrycode": "é"}, "`countrycode`"),
        ({"recognized": 1}, "`recognized`"),
        ({"timestamp": "2017-03-01T20:14:39Z"}, "`timestamp`"),
        ({"timestamp": "2017-13-01 20:14:39.1 UTC"}, "`timestamp`"),
        ({"timestamp": "1960-01-01 00:00:00 UTC"}, "`timestamp`"),
        ({"word": None}, "`word`"),
    ],
)
def test_wrong_fields_name_the_line(tmp_path, change, message):
    path = write_lines(tmp_path / "cat.ndjson", LINE, LINE, LINE | change, LINE)
    with pytest.raises(CorruptSourceError, match=message) as caught:
        read_ndjson(path)
    assert "line 3 (counted from 1)" in str(caught.value)
    assert f"byte {2 * (len(json.dumps(LINE)) + 1)}" in str(caught.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty"),
        (b"\n \n", "empty"),
        (b'{"word": "cat"', "no JSON"),
        (b'{"word": "cat"}', "key_id, countrycode, timestamp, recognized, drawing missing"),
        (b"[1, 2]", "got list"),
        (b"\xff\xfe\x00", "no JSON"),
        (b"[" * 200_000, "no JSON"),
        (b"\x89PNG\r\n\x1a\n\0\0", "PNG"),
    ],
)
def test_what_is_no_ndjson_is_refused(tmp_path, data, message):
    path = tmp_path / "cat.ndjson"
    path.write_bytes(data)
    with pytest.raises(CorruptSourceError, match=message):
        read_ndjson(path)


def test_a_last_line_cut_short_is_refused(tmp_path):
    path = write_lines(tmp_path / "cat.ndjson", LINE, LINE)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(CorruptSourceError, match="line 2 "):
        read_ndjson(path)


# --- real files ---------------------------------------------------------------------------------------


def test_real_files_hold_what_their_readme_says(shared_data):
    files = sorted((shared_data / "quickdraw").glob("*.bin"))
    counts = {file.stem: count_drawings(file) for file in files}
    assert len(counts) == 300
    assert sum(counts.values()) == 145_197
    assert min(counts.values()) == 437
    assert counts["cat"] == 2393


@pytest.mark.parametrize("category", ["cat", "The Eiffel Tower", "hot air balloon"])
def test_real_files_are_read_as_a_plain_parser_does_and_written_back_to_the_byte(shared_data, tmp_path, category):
    path = shared_data / "quickdraw" / f"{category}.bin"
    drawings = read_bin(path)
    assert as_records(drawings) == parse_plainly(path.read_bytes())
    write_bin(tmp_path / "copy.bin", drawings)
    assert (tmp_path / "copy.bin").read_bytes() == path.read_bytes()
    write_ndjson(tmp_path / "copy.ndjson", drawings, category)
    assert_same(read_ndjson(tmp_path / "copy.ndjson"), drawings)
