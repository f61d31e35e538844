"""The server answers its own page, and nobody else's; what it cannot use it says, as JSON."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import requests
from PIL import Image
from trazo.search.engine import Search
from trazo.search.server import MOST_DRAWING_BYTES, MOST_IMAGE_BYTES, serve, trusted_hosts
from trazo.store import read_images

from .serving import serving
from .studies import BITS, CLASSES, HOSTILE, PLAIN, strokes_of
from .test_queries import huge_png, png

EUCLIDEAN, COSINE = (f"{PLAIN.origin}/toys-test/none/{name}" for name in ("euclidean", "cosine"))
CAT = {"strokes": [stroke.T.tolist() for stroke in strokes_of("cat")]}


@pytest.fixture(scope="module")
def served(finished):
    # A search of its own: the one of the other tests is used by their thread.
    with serving(Search(finished, device="cpu", threads=1)) as started:
        yield started


def test_a_drawing_is_answered_by_every_method_asked_for(served):
    answer = served.post("drawing", json=CAT, params={"method": [COSINE, EUCLIDEAN], "top": 5})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    content = answer.json()
    assert [found["method"] for found in content["found"]] == [COSINE, EUCLIDEAN]
    assert content["query"]["size"] == [32, 32]
    assert content["query"]["picture"].startswith("data:image/png;base64,")
    for found in content["found"]:
        assert len(found["hits"]) == 5
        assert {hit["label"] for hit in found["hits"]} <= set(CLASSES)
        assert {hit["right"] for hit in found["hits"]} == {None}
        assert set(found["milliseconds"]) == {"pixels", "network", "reduce", "distances"}
        assert found["guesses"][0]["label"] in CLASSES


def test_what_is_found_is_what_the_library_finds(served, finished):
    row = 4
    answer = served.post("item", params={"method": EUCLIDEAN, "row": row, "top": 6}).json()
    found = Search(finished, device="cpu", threads=1)
    expected = found.search(found.item("toys/test", row), EUCLIDEAN, top=6)
    hits = answer["found"][0]["hits"]
    assert [(hit["id"], hit["distance"]) for hit in hits] == [(hit.item, hit.distance) for hit in expected.hits]
    label = answer["query"]["label"]
    assert [hit["right"] for hit in hits] == [hit["label"] == label for hit in hits]


def test_small_images_are_those_of_the_items(served, finished):
    answer = served.post("item", params={"method": EUCLIDEAN, "row": 2}).json()
    images = read_images(finished / "images" / "toys" / "test.h5")
    for hit in answer["found"][0]["hits"]:
        got = requests.get(f"{served.address}/{hit['thumb']}", timeout=60, stream=True)
        assert got.headers["content-type"] == "image/png"
        assert "immutable" in got.headers["cache-control"]
        picture = np.asarray(Image.open(got.raw))
        np.testing.assert_array_equal(picture, images.pixels[images.ids.index(hit["id"])])


@pytest.mark.parametrize("path", ["toys/test/99", "toys/other/0", "../../x/0", "toys/test/99999999999999999999"])
def test_images_that_are_not_there_are_refused(served, path):
    thumb = served.post("item", params={"method": EUCLIDEAN}).json()["found"][0]["hits"][0]["thumb"]
    answer, content = served.raw("GET", f"/thumb/{thumb.split('/')[1]}/{path}", {})
    assert answer.status in (400, 404)
    assert b"Traceback" not in content


def test_an_image_and_a_key_id_are_answered(served, finished):
    images = read_images(finished / "images" / "toys" / "test.h5")
    answer = served.post("image", data=png(images.pixels[3]), params={"method": EUCLIDEAN, "name": "mine.png"}).json()
    assert answer["query"]["name"] == "mine.png"
    # A copy of an item is nobody's own: it finds the item.
    assert answer["found"][0]["hits"][0]["id"] == images.ids[3]
    key = images.ids[3].rpartition("-")[2]
    answer = served.post("key", params={"method": EUCLIDEAN, "key": key}).json()
    assert answer["query"]["label"] == images.classes[images.labels[3]]
    assert images.ids[3] not in [hit["id"] for hit in answer["found"][0]["hits"]]


def test_any_query_of_the_study_is_given_where_none_is_named(served):
    names = {served.post("item", params={"method": EUCLIDEAN}).json()["query"]["name"] for _ in range(12)}
    assert len(names) > 2


@pytest.mark.parametrize(
    ("path", "options", "status", "message"),
    [
        ("image", {"data": b"not an image"}, 400, "no image in a known format"),
        ("image", {"data": png(np.zeros((50, 50), np.uint8))[:-25]}, 400, "cannot be used"),
        ("image", {"data": huge_png(20_000, 20_000)}, 400, "cannot be used"),
        ("image", {"data": b"\0" * (MOST_IMAGE_BYTES + 1)}, 413, "more than the 20 MB expected of the image"),
        ("drawing", {"data": b" " * (MOST_DRAWING_BYTES + 1)}, 413, "more than the 2 MB"),
        ("drawing", {"data": b"{"}, 400, "expected JSON"),
        ("drawing", {"data": b"[" * 100_000}, 400, "expected JSON"),
        ("drawing", {"json": {}}, 400, "expected JSON"),
        ("drawing", {"json": {"strokes": []}}, 400, "draw something"),
        ("drawing", {"data": b'{"strokes": [[[NaN], [1]]]}'}, 400, "no numbers from"),
        ("key", {"params": {"key": "<script>"}}, 400, "is no key id"),
        ("key", {"params": {"key": "7"}}, 400, "no drawing has the key id 7"),
        ("item", {"params": {"row": "100"}}, 400, "18 items, 0 to 17; number 100"),
        ("item", {"params": {"row": "x"}}, 400, "row: got 'x'"),
        ("item", {"params": {"top": "1000"}}, 400, "top: got '1000', expected a whole number from 1 to 60"),
        ("item", {"params": {"method": "none"}}, 400, "has no method 'none'"),
        ("item", {"params": {"method": [str(n) for n in range(9)]}}, 400, "method"),
    ],
)
def test_what_cannot_be_used_is_told_as_json(served, path, options, status, message):
    answer = served.post(path, **options)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    assert message in answer.json()["error"]
    # The server goes on.
    assert served.post("drawing", json=CAT).status_code == 200


def test_an_upload_that_does_not_say_how_long_it_is_is_measured(served):
    def parts():
        for _ in range(MOST_IMAGE_BYTES // 2**20 + 2):
            yield b"\0" * 2**20

    assert served.post("image", data=parts()).status_code == 413


def test_a_method_that_does_not_work_leaves_the_others(finished, tmp_path):
    import shutil

    root = tmp_path / "results" / "toys"
    shutil.copytree(finished, root)
    BITS.train(root, seed=3)
    bits = f"{BITS.origin}/toys-test/none/hamming"
    with serving(Search(root, device="cpu", threads=1)) as served:
        found = served.post("drawing", json=CAT, params={"method": [bits, COSINE]}).json()["found"]
        assert "different runs" in found[0]["error"]
        assert found[1]["hits"]


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost.evil", ""])
def test_other_names_of_this_machine_are_refused(served, host):
    for method, path in (("GET", "/"), ("POST", "/api/item")):
        answer, content = served.raw(method, path, {"Host": host})
        assert answer.status == 400
        assert b"cat" not in content


@pytest.mark.parametrize("host", ["localhost:PORT", "127.0.0.1:PORT", "[::1]:PORT", "LOCALHOST"])
def test_names_of_this_machine_are_answered(served, host):
    answer, _ = served.raw("GET", "/", {"Host": host.replace("PORT", str(served.port))})
    assert answer.status == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1", "http://127.0.0.1.evil:80"])
def test_pages_of_other_sites_are_not_answered(served, origin):
    body = json.dumps(CAT).encode()
    for path in ("drawing", "image", "key", "item"):
        answer, content = served.raw("POST", f"/api/{path}", {"Origin": origin}, body)
        assert answer.status == 403
        assert "open this server's own page" in json.loads(content)["error"]
        assert answer.headers.get("access-control-allow-origin") is None
    answer, _ = served.raw("POST", "/api/drawing", {"Origin": served.address}, body)
    assert answer.status == 200


def test_every_answer_forbids_what_it_does_not_need(served):
    for path in ("/", "/search.js", "/nowhere"):
        answer, _ = served.raw("GET", path, {})
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers.get("access-control-allow-origin") is None


def test_names_cannot_leave_their_place_in_the_page(served):
    answer, content = served.raw("GET", "/", {})
    text = content.decode()
    assert answer.headers["content-type"].startswith("text/html")
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, flags=re.DOTALL)
    assert "<" not in data
    methods = json.loads(data)["methods"]
    assert {method["name"] for method in methods} == set(served.search.methods)
    assert HOSTILE not in text
    # Nothing of another place.
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', text)


def test_only_what_is_there_is_served(served):
    for path in ("/search.html.jinja", "/server.py", "/../server.py", "/%2e%2e/server.py", "/api/drawing"):
        answer, content = served.raw("GET", path, {})
        assert answer.status in (404, 405)
        assert b"import" not in content


def test_trusted_names_of_an_open_address_are_this_machine_s():
    import socket

    assert trusted_hosts("127.0.0.1") == ["localhost", "127.0.0.1", "[::1]"]
    found = trusted_hosts("0.0.0.0", ["mine.example"])
    assert {"0.0.0.0", "mine.example", socket.gethostname()} <= set(found)
    assert "*" not in found


def test_a_taken_port_is_told(search):
    import socket

    from trazo.errors import InputError

    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(InputError, match="choose another port"):
        serve(search, port=taken.getsockname()[1])
