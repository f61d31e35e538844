"""Maps in the report: the still picture, what the page carries for the interactive one, and that one in a browser."""

import base64
import io
import json
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from trazo import store
from trazo.config import Figure, Settings, Study
from trazo.errors import InputError
from trazo.provenance import describe
from trazo.report.artifacts import keyed
from trazo.report.comparison import compare
from trazo.report.drawing import Material
from trazo.report.explorer import GRID, explorer_json, shown_maps
from trazo.report.figures import render_figure
from trazo.report.page import render_page
from trazo.report.panels import arranged, centred, map_panels

from tests.browser import needs_browser, running

from .conftest import STUDY, measure

CLASSES = ["coast & <sea>", "for</script>est", 'the "odd" one']
COUNT, SIDE = 30, 24
SVG = "{http://www.w3.org/2000/svg}"


def drawn(classes, *, count=COUNT, rows=None, title="UMAP", seed=0):
    rows = np.arange(count) if rows is None else np.asarray(rows)
    labels = (np.arange(count) * len(classes) // count)[rows]
    place = 3 * np.stack([np.cos(labels), np.sin(labels)], axis=1)
    quality = {"trustworthiness@15": 0.912, "silhouette": -0.125, "silhouette_map": 0.5}
    return {
        "coordinates": (place + np.random.default_rng(seed).normal(size=place.shape)).astype(np.float32),
        "rows": rows, "labels": labels, "ids": [f"item {row}" for row in rows], "classes": classes,
        "quality": quality, "title": title,
    }  # fmt: skip


def record(step, **key):
    return describe(step, settings={"key": key}, code="0123456789abcdef", seconds=1.0)


def write_map(folder, model, name, split="test", **parts):
    path = folder / f"{model}-{name}-{split}.h5"
    key = {"model": model, "stage": "classify", "epoch": 2, "seed": 0, "dataset": "toys", "split": split, "map": name}
    store.write_map(path, store.MapArtifact(record=record("map", **key), **parts))
    return path


def write_images(folder, classes, count=COUNT, split="test"):
    # Every image is of one brightness, its row's: a tile tells which item it is of.
    pixels = np.repeat(np.arange(count, dtype=np.uint8) * (255 // count), SIDE * SIDE).reshape(count, SIDE, SIDE)
    path = folder / f"images-{split}.h5"
    store.write_images(
        path, [pixels], shape=pixels.shape, labels=np.arange(count) * len(classes) // count,
        ids=[f"item {i}" for i in range(count)], classes=classes, record=record("images", dataset="toys", split=split),
    )  # fmt: skip
    return path


def study_of(maps, figures=None):
    made = {
        name: {"models": ["small", "large"], "data": "toys/test", "method": method} for name, method in maps.items()
    }
    shown = figures or {"maps": {"title": "Maps <of> features", "kind": "embedding_map"}}
    return Study.model_validate(
        {**STUDY, "maps": made, "figures": shown, "tables": {}, "published": None, "retrievals": []}
    )


@pytest.fixture(scope="module")
def mapped(tmp_path_factory):
    """Two models, each on a map of all items and on one of every third."""
    folder = tmp_path_factory.mktemp("maps")
    paths = [
        write_map(folder, model, name, **drawn(CLASSES, rows=rows, title=title, seed=i))
        for i, model in enumerate(("small", "large"))
        for name, title, rows in (("plane", "UMAP", None), ("third", "t-SNE", range(0, COUNT, 3)))
    ]
    return folder, study_of({"plane": "umap", "third": "tsne"}), paths, write_images(folder, CLASSES)


def render(folder, study, paths, **options):
    figure = Figure(title="Maps", kind="embedding_map", options=options)
    svg, png = folder / "maps.svg", folder / "maps.png"
    render_figure(figure=figure, study=study, material=Material(maps=tuple(paths)), svg=svg, png=png)
    return ElementTree.parse(svg).getroot(), png


def texts(root):
    return ["".join(e.itertext()) for e in root.iter(f"{SVG}text")]


def test_every_map_gets_a_panel_with_its_quality_and_every_class_a_line_of_the_legend(mapped, tmp_path):
    _, study, paths, _ = mapped
    root, png = render(tmp_path, study, paths)
    words = texts(root)
    assert [w for w in words if "·" in w] == ["small · UMAP", "large · UMAP", "small · t-SNE", "large · t-SNE"]
    assert words.count("trustworthiness@15 0.912") == words.count("silhouette −0.125, of the map 0.500") == 4
    assert all(words.count(name) == 1 for name in CLASSES)
    points = sum(use.get("y") is not None for use in root.iter(f"{SVG}use"))
    # Every item once in its panel, and a marker a class in the legend.
    assert points == 2 * (COUNT + COUNT // 3) + len(CLASSES)
    assert "30 items: trustworthiness@15 0.912" in root.findtext(".//{http://purl.org/dc/elements/1.1/}description")
    with Image.open(png) as picture:
        colours = {picture.convert("RGB").quantize(64).convert("RGB").getpixel((x, 0)) for x in range(5)}
    assert len(colours) == 1


def test_one_model_and_one_map_can_be_chosen(mapped, tmp_path):
    _, study, paths, _ = mapped
    assert "large · UMAP" in texts(render(tmp_path, study, paths, models=["large"], maps=["plane"])[0])
    (panel,) = map_panels(keyed(paths), study, ["large"], ["plane"])
    assert panel.title == "large · UMAP"
    assert [p.title for p in map_panels(keyed(paths), study, maps=["third"])] == ["small · t-SNE", "large · t-SNE"]


def test_maps_of_one_method_bear_their_own_names(tmp_path):
    paths = [write_map(tmp_path, "small", name, **drawn(CLASSES)) for name in ("near", "far")]
    panels = map_panels(keyed(paths), study_of({"far": "umap", "near": "umap"}))
    assert [panel.title for panel in panels] == ["small · far", "small · near"]


@pytest.mark.parametrize(
    ("models", "maps", "columns", "second"),
    [
        (1, 2, 2, ("small", 1)),
        (2, 1, 2, ("large", 0)),
        (2, 2, 2, ("large", 0)),
        (2, 3, 3, ("small", 1)),
        (1, 4, 3, ("small", 1)),
    ],
)
def test_panels_stand_in_rows_that_compare(tmp_path, models, maps, columns, second):
    names = [f"map{i}" for i in range(maps)]
    paths = [
        write_map(tmp_path, model, name, **drawn(CLASSES)) for model in ("small", "large")[:models] for name in names
    ]
    panels, found = arranged(map_panels(keyed(paths), study_of(dict.fromkeys(names, "umap"))))
    assert found == columns
    assert len(panels) == models * maps
    assert panels[1].model == second[0]
    if maps > 1:
        assert names[second[1]] in panels[1].title


def test_up_to_48_classes_differ_in_colour_or_marker(tmp_path):
    classes = [f"class {i}" for i in range(48)]
    study = study_of({"plane": "umap"})
    root, _ = render(tmp_path, study, [write_map(tmp_path, "small", "plane", **drawn(classes, count=96))])
    assert set(classes) <= set(texts(root))
    shapes = {p.get("id"): p.get("d") for p in root.iter(f"{SVG}path") if p.get("id")}
    link = "{http://www.w3.org/1999/xlink}href"
    looks = {
        (shapes.get(use.get(link)[1:]), re.search(r"fill: (#\w+)", use.get("style"))[1])
        for use in root.iter(f"{SVG}use")
        if "fill: #" in (use.get("style") or "")
    }
    assert len({shape for shape, _ in looks}) >= 6
    assert len({colour for _, colour in looks}) == 8


def test_of_a_hundred_classes_some_are_named_on_the_map_and_none_in_a_legend(tmp_path):
    classes = [f"class {i}" for i in range(100)]
    parts = drawn(classes, count=300)
    # A circle of clusters: only neighbours would overlap.
    angle = 2 * np.pi * parts["labels"] / 100
    parts["coordinates"] = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
    root, _ = render(tmp_path, study_of({"plane": "umap"}), [write_map(tmp_path, "small", "plane", **parts)])
    named = [name for name in texts(root) if name in classes]
    assert 10 <= len(named) == len(set(named)) <= 30


def test_very_many_points_become_pixels(tmp_path):
    paths = [write_map(tmp_path, "small", "plane", **drawn(CLASSES, count=6001))]
    root, _ = render(tmp_path, study_of({"plane": "umap"}), paths)
    assert sum(1 for _ in root.iter(f"{SVG}use")) < 100
    assert any(True for _ in root.iter(f"{SVG}image"))


def test_the_same_maps_give_the_same_bytes(mapped, tmp_path):
    _, study, paths, _ = mapped
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        render(tmp_path / name, study, paths if name == "a" else paths[::-1])
    for end in ("svg", "png"):
        assert (tmp_path / "a" / f"maps.{end}").read_bytes() == (tmp_path / "b" / f"maps.{end}").read_bytes()


def test_a_figure_of_maps_that_are_not_there_says_so(mapped, tmp_path):
    _, study, paths, _ = mapped
    with pytest.raises(InputError, match="no map of large is at hand"):
        render(tmp_path, study, paths[:2], models=["large"])


def test_maps_keep_their_shape_and_stay_inside():
    place = centred(np.array([[-10, 5], [30, 5], [10, 25]], dtype=np.float32))
    assert place == pytest.approx(np.array([[0.04, 0.27], [0.96, 0.27], [0.5, 0.73]]))
    assert centred(np.zeros((3, 2), np.float32)) == pytest.approx(np.full((3, 2), 0.5))


def payload(study, paths):
    return json.loads(explorer_json(shown_maps(study, keyed(paths))))


def test_the_page_carries_every_point_with_its_class_and_name(mapped):
    _, study, paths, images = mapped
    found = payload(study, [*paths, images])
    (items,) = found["sets"].values()
    assert items["ids"] == [f"item {i}" for i in range(COUNT)]
    assert [items["classes"][label] for label in items["labels"]] == [CLASSES[i * 3 // COUNT] for i in range(COUNT)]
    figure = found["figures"]["maps"]
    assert figure["classes"] == CLASSES
    assert [len(panel["points"]) for panel in figure["panels"]] == [60, 60, 20, 20]
    assert [panel["items"] for panel in figure["panels"]] == [None] * 2 + [list(range(0, COUNT, 3))] * 2
    for panel, path in zip(figure["panels"], [paths[i] for i in (0, 2, 1, 3)]):
        place = np.array(panel["points"]).reshape(-1, 2) / GRID
        original = store.read_map(path).coordinates
        # The same up to place, scale and y pointing down.
        moved = np.corrcoef(place[:, 0], original[:, 0])[0, 1], np.corrcoef(place[:, 1], original[:, 1])[0, 1]
        assert moved == pytest.approx((1, -1), abs=1e-4)
        assert place.min() >= 0.04 - 1e-4
        assert place.max() <= 0.96 + 1e-4


def test_every_item_of_a_map_has_its_picture_on_the_page(page):
    found = Scripts(page.read_text()).scripts
    told = json.loads(found[0][1])["toys/test"]
    assert (told["tile"], told["count"], told["rows"]) == (SIDE, COUNT, None)
    with Image.open(io.BytesIO(base64.b64decode(found[1][1]))) as sheet:
        shown = np.asarray(sheet.convert("L"))
    for item in range(COUNT):
        middle = shown[item // told["across"] * SIDE + SIDE // 2, item % told["across"] * SIDE + SIDE // 2]
        assert int(middle) == pytest.approx(item * (255 // COUNT), abs=3)


def test_imported_features_have_maps_without_pictures(tmp_path):
    study = Study.model_validate(
        {
            "title": "t",
            "features": {"mine": {"source": "mine.npz"}},
            "maps": {"plane": {"features": ["mine"]}},
            "figures": {"maps": {"title": "Maps", "kind": "embedding_map"}},
        }
    )
    path = tmp_path / "map.h5"
    key = {"model": "mine", "split": "gallery", "map": "plane"}
    store.write_map(path, store.MapArtifact(record=record("map", **key), **drawn(CLASSES)))
    found = payload(study, [path])
    assert not found["sets"]["mine/gallery"]["pictured"]
    assert found["figures"]["maps"]["panels"][0]["title"] == "mine · UMAP"


def test_a_study_without_maps_carries_nothing(finished):
    assert explorer_json(shown_maps(finished.study, keyed(finished.records))) == ""


@pytest.fixture(scope="module")
def page(mapped, tmp_path_factory):
    _, study, paths, images = mapped
    folder = tmp_path_factory.mktemp("page")
    store.write_metrics(folder / "metrics.csv", [measure(model="small", metric="silhouette", reducer="plane", value=0)])
    compare(
        study=study, metrics=folder / "metrics.csv", published=folder / "none.csv", output=folder / "comparison.csv"
    )
    figure = study.figures["maps"]
    files = {end: folder / f"maps.{end}" for end in ("svg", "png")}
    render_figure(figure=figure, study=study, material=Material(maps=tuple(paths)), **files)
    render_page(
        study=study, original=study, settings=Settings(studies=["bees"]), sources={}, metrics=folder / "metrics.csv",
        comparison=folder / "comparison.csv", tables=[], figures=list(files.values()), records=[*paths, images],
        output=folder / "report.html",
    )  # fmt: skip
    return folder / "report.html"


class Scripts(HTMLParser):
    """Collects the scripts of a page, and what it asks for by address."""

    def __init__(self, text):
        super().__init__()
        self.scripts, self.addresses, self._inside = [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self._inside = tag == "script"
        if self._inside:
            self.scripts.append([dict(attributes), ""])
        self.addresses += [value for name, value in attributes if name in {"src", "href", "xlink:href"}]

    def handle_endtag(self, tag):
        self._inside = self._inside and tag != "script"

    def handle_data(self, text):
        if self._inside:
            self.scripts[-1][1] += text


def test_the_page_is_whole_without_a_network_and_without_a_script(page):
    text = page.read_text()
    found = Scripts(text)
    # Hostile class names end no script: there are the data, a sheet of pictures, and what shows them.
    kinds = [(kind.get("type"), kind.get("id")) for kind, _ in found.scripts]
    assert kinds == [
        ("application/json", "picture-data"), ("text/plain", "pictures-0-0"), ("application/json", "map-data"),
        (None, None),
    ]  # fmt: skip
    content, program = found.scripts[2][1], found.scripts[3][1]
    assert json.loads(content)["figures"]["maps"]["classes"] == CLASSES
    assert not re.search(r"fetch\(|XMLHttpRequest|import\(|https?:", program)
    assert all(address.startswith(("#", "data:")) for address in found.addresses)
    # The still picture stands in the page itself, and the script looks for the figure that holds it.
    figure = text[text.index('id="figure-maps"') : text.index("</figure>", text.index('id="figure-maps"'))]
    assert '<svg viewBox="' in figure
    assert "small · UMAP" in figure


CHECK = """
const said = {}, figure = document.getElementById("figure-maps"), canvases = [...figure.querySelectorAll("canvas")];
const card = figure.querySelector(".map-card"), [all, none, ...classes] = figure.querySelectorAll(".map-legend button");
const words = () => card.hidden ? null : [...card.children].slice(1).map(part => part.textContent);
const hover = (x, y) => {
  const box = canvases[0].getBoundingClientRect();
  const place = {clientX: box.left + canvases[0].clientLeft + x, clientY: box.top + canvases[0].clientTop + y};
  canvases[0].dispatchEvent(new PointerEvent("pointermove", {pointerType: "mouse", ...place}));
};
const key = name => canvases[0].dispatchEvent(new KeyboardEvent("keydown", {key: name, cancelable: true}));
const pressed = () => classes.map(button => button.getAttribute("aria-pressed") === "true");
const spec = JSON.parse(document.getElementById("map-data").textContent), side = canvases[0].clientWidth;
const at = i => spec.figures.maps.panels[0].points.slice(2 * i, 2 * i + 2).map(v => v / spec.grid * side);
said.still = getComputedStyle(figure.querySelector(".scroll")).display;
said.canvases = canvases.length;
said.hidden = words();
hover(...at(0)); said.first = words(); said.picture = card.querySelector("i").style.backgroundImage.slice(0, 15);
hover(...at(29)); said.last = words();
hover(1, 1); said.nothing = words();
key("ArrowRight"); said.focused = words();
key("Escape"); said.left = words();
classes[0].click(); said.off = pressed(); hover(...at(0)); said.gone = words();
classes[0].click(); hover(...at(0)); said.back = words();
classes[2].dispatchEvent(new MouseEvent("dblclick")); said.only = pressed();
none.click(); said.none = pressed(); all.click(); said.all = pressed();
said.inks = canvases.map(c => c.getContext("2d").getImageData(0, 0, c.width, c.height).data.some(v => v));
"""


@needs_browser
def test_in_a_browser_points_show_their_items_and_classes_go_and_come(page, tmp_path):
    with running(tmp_path / "profile") as browser:
        shown = browser.open(page.as_uri())
        said = json.loads(shown.run(f"(() => {{ {CHECK} return JSON.stringify(said); }})()"))
        assert shown.errors == []
    assert said["still"] == "none"
    assert said["canvases"] == 4
    assert said["hidden"] is said["nothing"] is said["left"] is None
    assert said["first"] == [CLASSES[0], "item 0"]
    assert said["picture"] == 'url("blob:null/'
    assert said["last"] == [CLASSES[2], "item 29"]
    assert said["focused"][0] in CLASSES
    assert said["off"] == [False, True, True]
    assert said["gone"] is None or said["gone"][0] != CLASSES[0]
    assert said["back"] == [CLASSES[0], "item 0"]
    assert said["only"] == [False, False, True]
    assert said["none"] == [False] * 3
    assert said["all"] == [True] * 3
    assert said["inks"] == [True] * 4
