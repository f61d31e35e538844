"""Downloads against a server on this machine that breaks off, refuses, lies and changes its mind."""

import base64
import hashlib
import threading
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from trazo.data.download import DownloadError, Transfer, fetch, quickdraw_url

CONTENT = np.random.default_rng(0).integers(0, 256, 700_000, dtype=np.uint8).tobytes()
OTHER = CONTENT[::-1]


def google_hash(content):
    return f"crc32c=AAAAAA==,md5={base64.b64encode(hashlib.md5(content).digest()).decode()}"


@dataclass
class Scene:
    """What the server does, and what it was asked.

    `faults` are used up one a request: a status, or ("cut", n): n bytes, then the connection closes.
    """

    content: bytes = CONTENT
    ranges: bool = True
    etag: str | None = None
    dated: bool = False
    retry_after: str = ""
    headers: dict = field(default_factory=dict)
    faults: list = field(default_factory=list)
    requests: list = field(default_factory=list)
    paths: list = field(default_factory=list)

    def validators(self):
        etag = self.etag if self.etag is not None else f'"{hashlib.sha1(self.content).hexdigest()}"'
        return {name: value for name, value in (("ETag", etag), ("Last-Modified", self.dated and DATE)) if value}


DATE = formatdate(1_500_000_000, usegmt=True)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        scene = self.server.scene
        scene.requests.append(dict(self.headers))
        scene.paths.append(self.path)
        fault = scene.faults.pop(0) if scene.faults else None
        if isinstance(fault, int):
            self.send_response(fault)
            self.send_header("Content-Length", "0")
            if scene.retry_after:
                self.send_header("Retry-After", scene.retry_after)
            self.end_headers()
            return
        start = 0
        if scene.ranges and "Range" in self.headers:
            start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
            if self.headers.get("If-Range") not in {*scene.validators().values()}:
                start = 0
        body = scene.content[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(scene.content) - 1}/{len(scene.content)}")
        self.send_header("Content-Length", str(len(body)))
        for name, values in {**scene.validators(), **scene.headers}.items():
            for value in [values] if isinstance(values, str) else values:
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body if fault is None else body[: fault[1]])
        self.close_connection = True

    def log_message(self, *arguments):
        pass


@pytest.fixture
def served(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.scene = Scene(headers={"x-goog-hash": google_hash(CONTENT)})
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def address(served, path="full/binary/cat.bin"):
    return f"http://127.0.0.1:{served.server_port}/{path}"


@pytest.fixture
def download(served, tmp_path):
    """Fetch without waiting; return the file's bytes and the pauses that would have been made."""

    def call(path="full/binary/cat.bin", **options):
        pauses = []
        output = tmp_path / "folder" / "cat.bin"
        fetch(address(served, path), output, sleep=pauses.append, **options)
        assert sorted(p.name for p in output.parent.iterdir()) == ["cat.bin"]
        return output.read_bytes(), pauses

    return call


def fails(served, tmp_path, **options):
    with pytest.raises(DownloadError) as caught:
        fetch(address(served), tmp_path / "cat.bin", sleep=lambda seconds: None, **options)
    assert not (tmp_path / "cat.bin").exists()
    assert address(served) in str(caught.value)
    return str(caught.value)


def test_names_with_spaces_are_quoted():
    base = "https://storage.googleapis.com/quickdraw_dataset/full/binary"
    assert quickdraw_url(base, "The Eiffel Tower") == f"{base}/The%20Eiffel%20Tower.bin"
    assert quickdraw_url(f"{base}/", "t-shirt") == f"{base}/t-shirt.bin"
    assert quickdraw_url("http://h/full/simplified", "cat") == "http://h/full/simplified/cat.ndjson"
    assert quickdraw_url(base, "a/../b?c#d") == f"{base}/a%2F..%2Fb%3Fc%23d.bin"


def test_quoted_name_reaches_the_server(served, tmp_path):
    fetch(quickdraw_url(address(served, "full/binary"), "The Eiffel Tower"), tmp_path / "e.bin")
    assert served.scene.paths == ["/full/binary/The%20Eiffel%20Tower.bin"]


def test_file_arrives_whole_in_one_request(served, download):
    assert download() == (CONTENT, [])
    assert len(served.scene.requests) == 1
    assert served.scene.requests[0]["Accept-Encoding"] == "identity"


def test_empty_file_arrives(served, download):
    served.scene.content = b""
    served.scene.headers = {"x-goog-hash": google_hash(b"")}
    assert download() == (b"", [])


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_passing_refusal_is_retried_with_growing_pauses(served, download, status):
    served.scene.faults = [status, status, status]
    assert download() == (CONTENT, [1.0, 2.0, 4.0])


def test_pause_the_server_asks_for_is_kept(served, download):
    served.scene.faults = [503]
    served.scene.retry_after = "7"
    assert download() == (CONTENT, [7.0])


def test_cut_connection_is_resumed_where_it_stopped(served, download):
    served.scene.faults = [("cut", 300_000), ("cut", 100_000)]
    content, _ = download()
    assert content == CONTENT
    assert [r.get("Range") for r in served.scene.requests] == [None, "bytes=300000-", "bytes=400000-"]
    assert served.scene.requests[1]["If-Range"] == served.scene.validators()["ETag"]


def test_cut_connection_is_resumed_by_date_where_there_is_no_etag(served, download):
    served.scene.etag = ""
    served.scene.dated = True
    served.scene.faults = [("cut", 300_000)]
    assert download()[0] == CONTENT
    assert served.scene.requests[1]["If-Range"] == DATE


def test_weak_etag_does_not_resume(served, download):
    served.scene.etag = 'W/"1"'
    served.scene.faults = [("cut", 300_000)]
    assert download()[0] == CONTENT
    assert "Range" not in served.scene.requests[1]


def test_later_call_goes_on_from_what_an_earlier_one_left(served, download, tmp_path):
    served.scene.faults = [("cut", 300_000), 503]
    with pytest.raises(DownloadError, match="run again: it goes on from there"):
        fetch(address(served), tmp_path / "folder" / "cat.bin", retries=0, sleep=lambda seconds: None)
    assert (tmp_path / "folder" / "cat.bin.part").read_bytes() == CONTENT[:300_000]
    assert not (tmp_path / "folder" / "cat.bin").exists()
    assert download()[0] == CONTENT
    assert served.scene.requests[-1]["Range"] == "bytes=300000-"


def test_whole_part_file_needs_no_further_byte(served, download, tmp_path):
    served.scene.faults = [("cut", 300_000), 503]
    with pytest.raises(DownloadError):
        fetch(address(served), tmp_path / "folder" / "cat.bin", retries=0, sleep=lambda seconds: None)
    (tmp_path / "folder" / "cat.bin.part").write_bytes(CONTENT)
    asked = len(served.scene.requests)
    assert download()[0] == CONTENT
    assert len(served.scene.requests) == asked


def test_part_of_another_address_is_not_continued(served, download, tmp_path):
    served.scene.faults = [("cut", 300_000), 503]
    with pytest.raises(DownloadError):
        fetch(address(served, "elsewhere"), tmp_path / "folder" / "cat.bin", retries=0, sleep=lambda seconds: None)
    assert download()[0] == CONTENT
    assert "Range" not in served.scene.requests[-1]


def test_part_file_of_unknown_origin_is_not_continued(served, download, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "cat.bin.part").write_bytes(b"x" * 1000)
    assert download()[0] == CONTENT
    assert "Range" not in served.scene.requests[0]


def test_object_that_changed_meanwhile_is_fetched_anew(served, download, tmp_path):
    served.scene.faults = [("cut", 300_000), 503]
    with pytest.raises(DownloadError):
        fetch(address(served), tmp_path / "folder" / "cat.bin", retries=0, sleep=lambda seconds: None)
    served.scene.content = OTHER
    served.scene.headers = {"x-goog-hash": google_hash(OTHER)}
    assert download()[0] == OTHER


def test_server_that_mixes_two_objects_is_found_out(served, download, monkeypatch):
    """It ignores If-Range, so the tail of a new object would follow the head of the old one."""
    served.scene.faults = [("cut", 300_000)]
    served.scene.etag = '"1"'
    sent = Handler.do_GET

    def changing(self):
        sent(self)
        self.server.scene.content = OTHER
        self.server.scene.headers = {"x-goog-hash": google_hash(OTHER)}

    monkeypatch.setattr(Handler, "do_GET", changing)
    assert download()[0] == OTHER


def test_server_without_ranges_is_read_from_the_start(served, download):
    served.scene.ranges = False
    served.scene.faults = [("cut", 300_000)]
    assert download()[0] == CONTENT


def test_server_that_never_gets_through_is_given_up(served, tmp_path):
    served.scene.ranges = False
    served.scene.faults = [("cut", 300_000)] * 50
    message = fails(served, tmp_path, retries=3)
    assert "4 attempts without progress" in message
    assert len(served.scene.requests) == 5


def test_slow_progress_is_no_failure(served, download):
    served.scene.faults = [("cut", 50_000)] * 13
    assert download(retries=1)[0] == CONTENT


def test_wrong_md5_is_tried_once_more_and_then_refused(served, tmp_path):
    served.scene.headers = {"x-goog-hash": google_hash(OTHER)}
    message = fails(served, tmp_path)
    assert hashlib.md5(CONTENT).hexdigest() in message
    assert hashlib.md5(OTHER).hexdigest() in message
    assert len(served.scene.requests) == 2
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "headers",
    [
        {"x-goog-hash": google_hash(OTHER)},
        {"x-goog-hash": google_hash(OTHER).split(",")},
        {"Content-MD5": base64.b64encode(hashlib.md5(OTHER).digest()).decode()},
        {"ETag": f'"{hashlib.md5(OTHER).hexdigest()}"', "x-goog-generation": "1"},
    ],
)
def test_every_kind_of_checksum_is_checked(served, tmp_path, headers):
    served.scene.etag = ""
    served.scene.headers = headers
    assert "MD5" in fails(served, tmp_path)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"ETag": f'"{hashlib.md5(OTHER).hexdigest()}"'},
        {"ETag": f'"{hashlib.md5(OTHER).hexdigest()}"', "x-amz-server-side-encryption": "aws:kms"},
        {"x-goog-hash": google_hash(OTHER), "x-goog-stored-content-encoding": "gzip"},
        {"x-goog-hash": "crc32c=AAAAAA=="},
        {"Content-MD5": "not base64!"},
    ],
)
def test_what_is_no_checksum_of_the_file_is_not_taken_for_one(served, download, headers):
    served.scene.etag = ""
    served.scene.headers = headers
    assert download()[0] == CONTENT


def test_md5_that_the_caller_knows_counts_most(served, download, tmp_path):
    served.scene.headers = {}
    assert download(md5=hashlib.md5(CONTENT).hexdigest().upper())[0] == CONTENT
    assert "MD5" in fails(served, tmp_path, md5=hashlib.md5(OTHER).hexdigest())
    with pytest.raises(DownloadError, match="32 hexadecimal digits"):
        fetch(address(served), tmp_path / "cat.bin", md5="abc")


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("full/binary/girafe.bin", "Did you mean 'giraffe'"),
        ("full/binary/cat.bin", "'cat' is a category of Quick, Draw!: check the folder's address"),
        ("some/archive.zip", "Check the address under `sources:`"),
    ],
)
def test_missing_file_is_not_retried_and_says_what_to_do(served, tmp_path, path, words):
    served.scene.faults = [404]
    with pytest.raises(DownloadError) as caught:
        fetch(address(served, path), tmp_path / "x", sleep=lambda seconds: None)
    assert words in str(caught.value)
    assert address(served, path) in str(caught.value)
    assert len(served.scene.requests) == 1


def test_forbidden_file_is_not_retried(served, tmp_path):
    served.scene.faults = [403]
    assert "without signing in" in fails(served, tmp_path)
    assert len(served.scene.requests) == 1


def test_nobody_listening_is_retried_and_then_named(served, tmp_path):
    pauses = []
    with pytest.raises(DownloadError, match=r"the connection failed .* gave up after 3 attempts"):
        fetch("http://127.0.0.1:1/cat.bin", tmp_path / "cat.bin", retries=2, sleep=pauses.append)
    assert pauses == [1.0, 2.0]


@pytest.mark.parametrize("url", ["ftp://host/cat.bin", "file:///etc/passwd", "cat.bin", "http://"])
def test_only_http_addresses_are_fetched(tmp_path, url):
    with pytest.raises(DownloadError, match="no http or https address"):
        fetch(url, tmp_path / "cat.bin")


def test_proxy_of_the_environment_is_used(served, tmp_path, monkeypatch):
    monkeypatch.setenv("http_proxy", address(served, ""))
    fetch("http://quickdraw.invalid/cat.bin", tmp_path / "cat.bin")
    assert served.scene.paths == ["http://quickdraw.invalid/cat.bin"]
    assert (tmp_path / "cat.bin").read_bytes() == CONTENT


def test_progress_counts_resumed_bytes_and_ends_at_the_total(served, download):
    served.scene.faults = [("cut", 300_000)]
    seen = []
    download(progress=seen.append)
    received = [transfer.received for transfer in seen]
    assert received == sorted(received)
    assert received[-1] == len(CONTENT)
    assert {transfer.total for transfer in seen} == {len(CONTENT)}
    assert all(transfer.rate > 0 for transfer in seen)


def test_progress_reads_well():
    assert str(Transfer(2**20, 4 * 2**20, 2**19)) == "1.0 MiB of 4.0 MiB, 512 KiB/s, 6 s left"
    assert str(Transfer(2**20, None, 0.0)) == "1.0 MiB, 0 KiB/s"
