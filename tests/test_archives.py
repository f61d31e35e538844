"""Archives: folders and zips read alike, hostile zips refused, nothing extracted."""

import os
import stat
import struct
import zipfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trazo import archives
from trazo.archives import ArchiveError, open_archive
from trazo.errors import TrazoError


def make_zip(path, members, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in members:
            file.writestr(name, content)
    return path


def refused(path, inside=""):
    with pytest.raises(ArchiveError) as caught:
        open_archive(path, inside)
    return str(caught.value)


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "tree"
    for name, content in (("a/1.png", b"one"), ("a/deep/2.png", b"two"), ("b c/3.png", b"three"), ("top.txt", b"t")):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def test_folder_and_zip_of_it_read_alike(tree, tmp_path):
    names = ["a/1.png", "a/deep/2.png", "b c/3.png", "top.txt"]
    packed = make_zip(tmp_path / "t.zip", [(name, (tree / name).read_bytes()) for name in reversed(names)])
    for place in (tree, packed):
        with open_archive(place) as archive:
            assert archive.names() == names
            assert [archive.read(name) for name in names] == [b"one", b"two", b"three", b"t"]
        with open_archive(place, "a/") as archive:
            assert archive.names() == ["a/1.png", "a/deep/2.png"]


def test_files_beside_the_listed_folder_can_be_read_and_none_outside_the_source(tree, tmp_path):
    packed = make_zip(tmp_path / "t.zip", [(name, b"x") for name in ("a/1.png", "top.txt")])
    for place in (tree, packed):
        with open_archive(place, "a") as archive:
            assert [archive.has(name) for name in ("a/1.png", "top.txt")] == [True, True]
            assert archive.read("top.txt")
            away = ("a", "2.png", "../t.zip", "/etc/passwd", str(packed))
            assert not any(archive.has(name) for name in away)


def test_likeness_is_shared_by_files_of_the_same_content(tree, tmp_path):
    contents = {"a/1.png": b"same", "b/2.png": b"same", "b/3.png": b"other one"}
    for name, content in contents.items():
        (tree / name).parent.mkdir(exist_ok=True)
        (tree / name).write_bytes(content)
    for place in (tree, make_zip(tmp_path / "t.zip", contents.items())):
        with open_archive(place) as archive:
            assert archive.likeness("a/1.png") == archive.likeness("b/2.png") != archive.likeness("b/3.png")


def test_stamp_tells_a_changed_file(tree):
    with open_archive(tree) as archive:
        before = archive.stamp("a/1.png")
        os.utime(tree / "a/1.png", ns=(1, 1))
        assert archive.stamp("a/1.png") != before


def test_system_junk_is_passed_over(tmp_path):
    junk = ["__MACOSX/a/._1.png", "a/.DS_Store", "a/Thumbs.db", "a/._1.png"]
    packed = make_zip(tmp_path / "t.zip", [(name, b"x") for name in [*junk, "a/1.png"]])
    with open_archive(packed) as archive:
        assert archive.names() == ["a/1.png"]
    for name in [*junk, "a/1.png"]:
        (tmp_path / "f" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "f" / name).write_bytes(b"x")
    with open_archive(tmp_path / "f") as archive:
        assert archive.names() == ["a/1.png"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("../evil.png", "`..`"),
        ("a/../../evil.png", "`..`"),
        ("/etc/evil.png", "absolute"),
        ("C:/evil.png", "drive letter"),
        ("c:evil.png", "drive letter"),
        ("a\\..\\evil.png", "backslash"),
    ],
)
def test_name_that_leads_out_is_refused(tmp_path, name, words):
    message = refused(make_zip(tmp_path / "t.zip", [("a/1.png", b"x"), (name, b"x")]))
    assert words in message
    assert repr(name) in message
    assert "t.zip" in message
    assert not (tmp_path.parent / "evil.png").exists()


@pytest.mark.parametrize("folder", ["../x", "/x", "a/../../x", "C:/x", "a\\b"])
def test_folder_that_leads_out_is_refused(tree, folder):
    assert "folder" in refused(tree, folder)


@pytest.mark.parametrize(("kind", "words"), [(stat.S_IFLNK, "link"), (stat.S_IFIFO, "plain"), (stat.S_IFCHR, "plain")])
def test_member_that_is_no_file_is_refused(tmp_path, kind, words):
    member = zipfile.ZipInfo("a/1.png")
    member.create_system = 3
    member.external_attr = (kind | 0o777) << 16
    assert words in refused(make_zip(tmp_path / "t.zip", [(member, "/etc/passwd")]))


def test_encrypted_member_is_refused(tmp_path):
    path = make_zip(tmp_path / "t.zip", [("a/1.png", b"x")])
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    assert "encrypted" in refused(path)


def test_two_members_of_one_name_are_refused(tmp_path):
    with pytest.warns(UserWarning, match="Duplicate"):
        path = make_zip(tmp_path / "t.zip", [("a/1.png", b"x"), ("a/1.png", b"y")])
    assert "two members are named 'a/1.png'" in refused(path)
    assert "two members" in refused(make_zip(tmp_path / "u.zip", [("a/1.png", b"x"), ("./a//1.png", b"y")]))


def test_bomb_in_one_member_is_refused(tmp_path):
    path = make_zip(tmp_path / "t.zip", [("a/1.png", bytes(64 << 20))])
    assert path.stat().st_size < 100_000
    assert "times its size" in refused(path)


def test_bomb_of_many_members_is_refused(tmp_path):
    path = make_zip(tmp_path / "t.zip", [(f"a/{i}.png", bytes(8 << 20)) for i in range(8)])
    assert "no honest archive" in refused(path)


def test_white_bitmaps_are_no_bomb(tmp_path):
    path = make_zip(tmp_path / "t.zip", [("a/1.bmp", b"\xff" * (4 << 20)), ("a/2.bin", os.urandom(1 << 16))])
    with open_archive(path) as archive:
        assert archive.read("a/1.bmp") == b"\xff" * (4 << 20)


def test_member_larger_than_is_read_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MOST_BYTES", 1000)
    assert "would unpack to 1,001 bytes" in refused(make_zip(tmp_path / "t.zip", [("a/1.png", os.urandom(1001))]))


def test_member_that_unpacks_to_more_than_it_declares_is_an_error(tmp_path):
    path = make_zip(tmp_path / "t.zip", [("a/1.png", bytes(1 << 20))])
    data = bytearray(path.read_bytes())
    for signature, at in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        struct.pack_into("<I", data, data.index(signature) + at, 10)
    path.write_bytes(data)
    with open_archive(path) as archive, pytest.raises(ArchiveError, match=r"'a/1.png' is damaged"):
        archive.read("a/1.png")


def test_damaged_member_is_named(tmp_path):
    path = make_zip(tmp_path / "t.zip", [("a/1.png", b"0123456789" * 9)], zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    data[data.index(b"0123456789") + 40] ^= 0xFF
    path.write_bytes(data)
    with open_archive(path) as archive, pytest.raises(ArchiveError, match=r"'a/1.png' is damaged .*CRC"):
        archive.read("a/1.png")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"\x1f\x8b\x08" + bytes(40), "gzip"),
        (bytes(257) + b"ustar" + bytes(300), "tar"),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "PNG"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(40), "7z"),
        (b"hello", "something else"),
    ],
)
def test_file_that_is_no_zip_is_named_as_such(tmp_path, content, words):
    path = tmp_path / "t.zip"
    path.write_bytes(content)
    message = refused(path)
    assert "no zip archive" in message
    assert words in message


@pytest.mark.parametrize(
    ("content", "advice"),
    [
        (b"7z\xbc\xaf\x27\x1c" + bytes(40), "unpack it and name the folder"),
        (b"Rar!\x1a\x07" + bytes(40), "unpack it and name the folder"),
        (b"BZh91AY" + bytes(40), "unpack it and name the folder"),
        (bytes(257) + b"ustar" + bytes(300), "unpack it and name the folder"),
        (b"<html>", "get it again"),
        (b"", "get it again"),
        (b"\xff\xd8\xff\xe0" + bytes(40), "name the folder that it lies in"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"hello", "check the name"),
    ],
)
def test_file_that_is_no_zip_comes_with_what_to_do(tmp_path, content, advice):
    path = tmp_path / "t.zip"
    path.write_bytes(content)
    message = refused(path)
    assert "Expected a folder or a zip archive; " in message
    assert advice in message


def test_zip_that_was_cut_short_is_named_as_such(tmp_path):
    path = make_zip(tmp_path / "t.zip", [("a/1.png", os.urandom(5000))])
    path.write_bytes(path.read_bytes()[:3000])
    assert "cut short" in refused(path)


def test_missing_source_is_an_error(tmp_path):
    assert "does not exist" in refused(tmp_path / "nowhere.zip")
    assert "no folder 'nowhere'" in refused(tmp_path, "nowhere")


def test_linked_class_folder_is_followed_and_a_loop_is_refused(tree, tmp_path):
    shown = tmp_path / "shown"
    shown.mkdir()
    (shown / "linked").symlink_to(tree / "a", target_is_directory=True)
    with open_archive(shown) as archive:
        assert archive.names() == ["linked/1.png", "linked/deep/2.png"]
    (tree / "a" / "loop").symlink_to(tree, target_is_directory=True)
    with open_archive(tree) as archive, pytest.raises(ArchiveError, match="links back"):
        archive.names()


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(flips=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=6))
def test_mutated_zip_gives_clean_errors_or_true_bytes(tmp_path, flips):
    contents = {"a/1.png": b"first" * 30, "b/2.png": bytes(range(256))}
    path = make_zip(tmp_path / "t.zip", contents.items())
    data = bytearray(path.read_bytes())
    for position, value in flips:
        data[position % len(data)] = value
    path.write_bytes(data)
    try:
        with open_archive(path) as archive:
            read = {name: archive.read(name) for name in archive.names()}
    except TrazoError:
        return
    assert set(read.values()) <= set(contents.values())
