"""The page in a browser: a drawn stroke brings what each method finds, and nothing breaks it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from trazo.data.quickdraw import read_bin
from trazo.search.engine import Search
from trazo.search.server import MOST_IMAGE_BYTES

from tests.browser import needs_browser, running

from .serving import serving
from .studies import CLASSES, HOSTILE, strokes_of
from .test_queries import png

pytestmark = needs_browser
SHOWN = "document.querySelectorAll('.hits li').length"
TROUBLE = "document.getElementById('trouble')"


@pytest.fixture(scope="module")
def served(finished):
    with serving(Search(finished, device="cpu", threads=1)) as started:
        yield started


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with running(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture
def page(browser, served):
    opened = browser.open(f"{served.address}/")
    yield opened
    opened.close()


def place(page, x: float, y: float) -> dict[str, float]:
    """Return where in the window a point of the paper is, from 0 to 1 in both directions."""
    box = json.loads(page.run("JSON.stringify(document.getElementById('canvas').getBoundingClientRect())"))
    return {"x": box["x"] + x * box["width"], "y": box["y"] + y * box["height"]}


def draw(page, points, *, lift: bool = True) -> None:
    """Draw a stroke with the mouse, points from 0 to 1."""
    (first, *others) = [place(page, *point) for point in points]
    held = {"button": "left", "clickCount": 1}
    page.send("Input.dispatchMouseEvent", type="mousePressed", **first, **held)
    for point in others:
        page.send("Input.dispatchMouseEvent", type="mouseMoved", **point, buttons=1, button="left")
    if lift:
        page.send("Input.dispatchMouseEvent", type="mouseReleased", **(others or [first])[-1], **held)


def draw_animal(page, animal: str = "cat") -> None:
    for stroke in strokes_of(animal):
        draw(page, (stroke / 280 + 0.04).tolist())


def upload(page, path) -> None:
    root = page.send("DOM.getDocument")["root"]["nodeId"]
    node = page.send("DOM.querySelector", nodeId=root, selector="#file")["nodeId"]
    page.send("DOM.setFileInputFiles", nodeId=node, files=[str(path)])


def labels(page) -> list[str]:
    return json.loads(page.run("JSON.stringify([...document.querySelectorAll('.hits b')].map(b => b.textContent))"))


def loaded(page) -> bool:
    return page.run(
        "[...document.querySelectorAll('.hits img')].every(image => image.complete && image.naturalWidth > 0)"
    )


def well(page, served) -> None:
    """Check that nothing went wrong, and that nothing was asked of anybody else."""
    assert page.errors == []
    assert all(address.startswith(f"{served.address}/") for address in page.requests)


def test_a_drawing_brings_what_is_found(page, served):
    assert page.run(SHOWN) == 0
    draw_animal(page)
    page.wait(f"{SHOWN} === 12 && document.getElementById('status').textContent")
    page.wait("[...document.querySelectorAll('.hits img')].every(image => image.complete)")
    assert loaded(page)
    assert set(labels(page)) <= set(CLASSES)
    distances = json.loads(
        page.run("JSON.stringify([...document.querySelectorAll('.hits span')].map(s => +s.textContent))")
    )
    assert distances == sorted(distances)
    assert page.run("document.querySelector('.told').textContent.includes(' ms a query')")
    assert page.run("document.getElementById('picture').naturalWidth") == 32
    assert page.run("document.getElementById('hint').hidden")
    assert page.run("performance.getEntriesByName('answer').length") >= 1
    well(page, served)


def test_results_come_while_one_draws(page, served):
    draw(page, [(0.1, 0.1), (0.5, 0.3), (0.9, 0.9), (0.2, 0.8)], lift=False)
    page.wait(f"{SHOWN} === 12")
    # Nothing is said aloud before the pen is lifted.
    assert page.run("document.getElementById('status').textContent") == ""
    page.send("Input.dispatchMouseEvent", type="mouseReleased", **place(page, 0.2, 0.8), button="left", clickCount=1)
    page.wait("document.getElementById('status').textContent.includes('12 found')")
    well(page, served)


def test_names_of_classes_are_text(page, served):
    page.run("document.getElementById('top').value = '48'; document.getElementById('top').onchange()")
    draw_animal(page, "duck")
    page.wait(f"{SHOWN} >= 18 && document.getElementById('status').textContent")
    assert HOSTILE in labels(page)
    assert page.run("document.querySelectorAll('.hits b b').length") == 0
    well(page, served)


def test_undo_and_clear(page, served):
    disabled = "[document.getElementById('undo').disabled, document.getElementById('clear').disabled].join()"
    ink = (
        "new Uint32Array(document.getElementById('canvas').getContext('2d').getImageData(0, 0, 300, 300).data.buffer)"
        ".filter(value => value !== 0xffffffff).length"
    )
    assert page.run(disabled) == "true,true"
    assert page.run(ink) == 0
    draw(page, [(0.1, 0.1), (0.8, 0.8)])
    one = page.run(ink)
    draw(page, [(0.8, 0.1), (0.1, 0.8)])
    page.wait(f"{SHOWN} === 12")
    assert page.run(ink) > one > 0
    assert page.run(disabled) == "false,false"
    page.run("document.getElementById('undo').click()")
    assert page.run(ink) == one
    page.run(
        "dispatchEvent(new Event('x')); document.dispatchEvent(new KeyboardEvent('keydown', {key: 'z', ctrlKey: true}))"
    )
    page.wait(f"{SHOWN} === 0")
    assert page.run(ink) == 0
    assert page.run(disabled) == "true,true"
    draw(page, [(0.1, 0.1), (0.8, 0.8)])
    page.wait(f"{SHOWN} === 12")
    page.run("document.getElementById('clear').click()")
    assert page.run(SHOWN) == 0
    assert page.run(ink) == 0
    well(page, served)


def test_a_finger_draws_and_does_not_scroll(page, served):
    points = [place(page, 0.2, 0.2), place(page, 0.5, 0.6), place(page, 0.8, 0.3)]
    for kind, several in (
        ("touchStart", points[:1]),
        ("touchMove", points[1:2]),
        ("touchMove", points[2:]),
        ("touchEnd", []),
    ):
        page.send("Input.dispatchTouchEvent", type=kind, touchPoints=several)
    page.wait(f"{SHOWN} === 12")
    assert page.run("scrollY") == 0
    well(page, served)


def test_an_image_is_searched_with(page, served, tmp_path):
    image = np.full((64, 64), 255, np.uint8)
    image[20:40, 30:34] = 0
    (tmp_path / "mine & <b>.png").write_bytes(png(image))
    draw(page, [(0.1, 0.1), (0.8, 0.8)])
    upload(page, tmp_path / "mine & <b>.png")
    page.wait("document.getElementById('query').textContent === 'mine & <b>.png'")
    page.wait(f"{SHOWN} === 12")
    # The picture lies on the paper in place of the drawing; drawing goes on from white paper.
    assert page.run("document.getElementById('undo').disabled")
    draw(page, [(0.1, 0.1), (0.8, 0.8)])
    page.wait("document.getElementById('query').textContent === 'Your drawing'")
    well(page, served)


def test_a_broken_upload_gets_a_clear_message(page, served, tmp_path):
    (tmp_path / "broken.png").write_bytes(png(np.zeros((50, 50), np.uint8))[:-25])
    upload(page, tmp_path / "broken.png")
    page.wait(f"!{TROUBLE}.hidden")
    told = page.run(f"{TROUBLE}.textContent")
    assert "broken.png cannot be used" in told
    assert "Expected an image file" in told
    assert page.run(f"{TROUBLE}.getAttribute('role')") == "alert"
    # The browser itself notes the refusal; the page raises nothing.
    assert all("400" in error for error in page.errors)
    # It goes with the next good query.
    draw(page, [(0.1, 0.1), (0.8, 0.8)])
    page.wait(f"{SHOWN} === 12 && {TROUBLE}.hidden")


def test_an_oversized_upload_gets_a_clear_message_and_is_not_sent(page, served, tmp_path):
    with (tmp_path / "huge.png").open("wb") as file:
        file.truncate(MOST_IMAGE_BYTES + 1)
    upload(page, tmp_path / "huge.png")
    page.wait(f"!{TROUBLE}.hidden")
    told = page.run(f"{TROUBLE}.textContent")
    assert "huge.png has 20.0 MB; expected an image of up to 20 MB" in told
    assert not any("api" in address for address in page.requests)
    well(page, served)


def test_an_oversized_upload_that_is_sent_all_the_same_is_answered(page, served):
    status = page.run(
        f"fetch('api/image', {{method: 'POST', body: new Uint8Array({MOST_IMAGE_BYTES + 1})}})"
        ".then(async answer => `${answer.status} ${(await answer.json()).error}`)"
    )
    assert status.startswith("413 got more than the 20 MB")


def test_the_keyboard_is_enough(page, served, finished):
    focused = "document.activeElement.id"
    for _ in range(20):
        page.press("Tab")
        if page.run(focused) == "any":
            break
    assert page.run(focused) == "any"
    assert page.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.press("Enter")
    page.wait(f"{SHOWN} === 12")
    # A query of the study has a class, by which hits are marked, not by colour alone.
    assert all(label[0] in "✓✗" for label in labels(page))
    # Behind it, folded: a key id.
    page.press("Tab")
    assert page.run("document.activeElement.tagName") == "SUMMARY"
    page.press("Enter")
    page.press("Tab")
    assert page.run(focused) == "key"
    key = read_bin(finished / "doodles" / "toys" / "crab.bin").key_id[2]
    page.send("Input.insertText", text=str(key))
    page.press("Enter")
    page.wait(f"document.getElementById('sees').textContent.startsWith('crab/2-{key}, as the network sees it')")
    assert page.run("document.getElementById('query').textContent") == "crab"
    well(page, served)


def test_a_key_id_that_is_not_there_is_told(page, served):
    page.run("document.getElementById('key').value = '7'; document.getElementById('key-form').requestSubmit()")
    page.wait(f"!{TROUBLE}.hidden")
    assert "no drawing has the key id 7" in page.run(f"{TROUBLE}.textContent")


def test_methods_stand_side_by_side_and_can_be_chosen(page, served):
    draw_animal(page)
    page.wait(f"{SHOWN} === 12")
    page.run("document.getElementById('add').click()")
    page.wait(f"document.querySelectorAll('.panel').length === 2 && {SHOWN} === 24")
    names = "JSON.stringify([...document.querySelectorAll('.panel')].map(panel => panel.getAttribute('aria-label')))"
    assert len(set(json.loads(page.run(names)))) == 2
    options = "document.querySelector('.panel:last-of-type select')"
    changed = page.run(f"[...{options}.options].map(option => option.value).find(value => value !== {options}.value)")
    page.run(f"{options}.value = {json.dumps(changed)}; {options}.dispatchEvent(new Event('change'))")
    page.wait(f"{SHOWN} === 24 && document.querySelector('.panel:last-of-type select').value === {json.dumps(changed)}")
    # Every select offers what there is of the choices before it, and nothing twice.
    page.run("document.querySelector('.panel .remove').click()")
    assert page.run("document.querySelectorAll('.panel').length") == 1
    assert page.run("document.querySelector('.panel .remove').hidden")
    well(page, served)


def test_every_method_can_be_chosen(page, served):
    reached = page.run("""(async () => {
      const names = new Set(), turn = () => new Promise(done => setTimeout(done, 0));
      const label = () => [...document.querySelectorAll('.panel select')].map(s => s.value).join(' | ');
      const walk = async depth => {
        const selects = () => document.querySelectorAll('.panel select');
        if (depth >= selects().length) { names.add(label()); return; }
        for (const value of [...selects()[depth].options].map(o => o.value)) {
          const select = selects()[depth];
          select.value = value; select.dispatchEvent(new Event('change')); await turn();
          await walk(depth + 1);
        }
      };
      await walk(0);
      return names.size;
    })()""")
    assert reached == len(served.search.methods)
    well(page, served)


@pytest.mark.parametrize("width", [360, 720, 1200])
def test_the_page_fits(browser, served, width):
    page = browser.open(f"{served.address}/", width=width, height=740)
    draw_animal(page)
    page.wait(f"{SHOWN} === 12")
    page.run("document.getElementById('add').click()")
    page.wait(f"{SHOWN} === 24")
    assert page.run("document.documentElement.scrollWidth") <= width
    wide = (
        "[...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1).length"
    )
    assert page.run(wide) == 0
    page.close()


def test_dark_is_dark_and_paper_stays_white(browser, served):
    parts = "[document.body, document.getElementById('paper')]"
    colours = f"{parts}.map(part => getComputedStyle(part).backgroundColor)"
    found = {}
    for dark in (False, True):
        page = browser.open(f"{served.address}/", dark=dark)
        found[dark] = json.loads(page.run(f"JSON.stringify({colours})"))
        page.close()
    assert found[True][0] != found[False][0]
    assert found[True][1] == found[False][1] == "rgb(255, 255, 255)"


def test_everything_that_can_be_pressed_has_a_name(page):
    nameless = page.run(
        "[...document.querySelectorAll('button, input, select')].filter(e => !(e.labels && [...e.labels].some(l => "
        "l.textContent.trim())) && !e.textContent.trim() && !e.getAttribute('aria-label')).length"
    )
    assert nameless == 0
