"""The graph of the run: which steps it shows, in which order, and that its boxes do not overlap."""

import itertools
from xml.etree import ElementTree

import pytest
from trazo.report.flow import flow_of, flow_svg, flow_words
from trazo.report.story import Step

SVG = "{http://www.w3.org/2000/svg}"


def steps(**counts):
    return [Step(name, "", 2.0, "cpu", [], "") for name, count in counts.items() for _ in range(count)]


def made(**counts):
    return flow_of(steps(**counts), sources=1, tables=2, figures=0, published=5)


@pytest.mark.parametrize(
    ("counts", "edges"),
    [
        (
            {"images": 2, "train": 1, "features": 2, "rank": 4},
            {"images": ("sources",), "train": ("images",), "features": ("train",), "rank": ("features",),
             "metrics": ("rank",)},
        ),
        (
            {"images": 2, "train": 1, "features": 2, "reduce": 3, "rank": 4, "map": 2},
            {"reduce": ("features",), "rank": ("reduce",), "map": ("features",), "metrics": ("rank", "map")},
        ),
        (
            {"import": 2, "reduce": 1, "rank": 1},
            {"import": ("sources",), "reduce": ("import",), "rank": ("reduce",)},
        ),
        ({"images": 1, "features": 1}, {"features": ("images",), "metrics": ("features",)}),
    ],
)  # fmt: skip
def test_steps_follow_what_they_read(counts, edges):
    nodes = {node.key: node for node in made(**counts)}
    assert set(nodes) == {"sources", *counts, "metrics", "report"}
    for key, follows in edges.items():
        assert set(nodes[key].follows) == set(follows), key
    for node in nodes.values():
        assert all(nodes[before].column < node.column for before in node.follows)
    for key, count in counts.items():
        assert nodes[key].lines == (f"{count} artifact{'' if count == 1 else 's'}", f"{2.0 * count:.1f} s")
    assert nodes["report"].lines == ("2 tables",)


def test_the_picture_is_sound_and_boxes_stand_apart():
    nodes = made(images=2, train=1, features=2, reduce=3, rank=4, map=2, **{"import": 1})
    text = flow_svg(nodes).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    root = ElementTree.fromstring(text)
    boxes = [tuple(float(r.get(k)) for k in ("x", "y", "width", "height")) for r in root.iter(f"{SVG}rect")]
    assert len(boxes) == len(nodes)
    for (x0, y0, w, h), (x1, y1, _, _) in itertools.combinations(boxes, 2):
        assert abs(x0 - x1) >= w or abs(y0 - y1) >= h
    _, _, width, height = map(float, root.get("viewBox").split())
    assert all(x + w <= width and y + h <= height for x, y, w, h in boxes)
    assert "training (1 artifact, 2.0 s)" in flow_words(nodes)
