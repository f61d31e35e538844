"""The published structures of sketch and photo datasets, made small, are read by the lines that the README gives.

The README's table is the source of the settings: what it says there is what is tried here.
"""

import io
import re
import zipfile
from itertools import takewhile
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from trazo.config import Dataset
from trazo.data.categories import choose
from trazo.data.images import build_images, split_instances
from trazo.data.instances import check_classes, check_photos, sketches_without_photo
from trazo.data.layouts import layouts
from trazo.errors import InputError
from trazo.store import read_images

README = Path(__file__).resolve().parents[2] / "README.md"
HEADER = "| dataset | where | terms | sketches | photos |"
DOMAINS = {"sketches": "sketch", "photos": "photo"}


def from_the_readme() -> dict[tuple[str, str], Dataset]:
    """Return the datasets of the README's table by name and column; where it gives no splits, all images are one."""
    rows = README.read_text(encoding="utf-8").partition(HEADER)[2].splitlines()[2:]
    found = {}
    for row in takewhile(lambda line: line.startswith("|"), rows):
        name, _, _, *cells = (cell.strip() for cell in row.strip("|").split("|"))
        for column, cell in zip(DOMAINS, cells):
            if cell != "–":
                given = yaml.safe_load(re.fullmatch(r"`(.+)`", cell)[1])
                split = dict.fromkeys(given["lists"], "all") if "lists" in given else {"all": "rest"}
                found[name, column] = Dataset.model_validate({"split": split, "domain": DOMAINS[column], **given})
    return found


DATASETS = from_the_readme()

SKETCHY_NAMES = ["airplane/n02691156_10151", "airplane/n02691156_58", "car_(sedan)/n02814533_9", "hot-air_balloon/e-12"]
SKETCHY = [f"256x256/photo/tx_{t}/{name}.jpg" for name in SKETCHY_NAMES for t in ("000000000000", "000100000000")] + [
    f"256x256/sketch/tx_{t}/{name}-{n}.png"
    for name in SKETCHY_NAMES
    for n in (1, 2)
    for t in ("000000000000", "000000000010")
]
FLICKR15K_TRUTH = "1 air_balloon/101.jpg\n1 air_balloon/7.jpg\n2 beach_ball/9.jpg\n2 moon/9.jpg\n"

# What stands in each source: names of files, and the text of those that are no images.
STRUCTURES: dict[str, dict[str, str | None]] = {
    "ImageNet": dict.fromkeys(
        f"{split}/{synset}/{i}.JPEG"
        for split in ("train", "val")
        for synset in ("n01440764", "n02102040")
        for i in "12"
    ),
    "TU-Berlin": {
        **dict.fromkeys(["png/airplane/1.png", "png/alarm clock/81.png", "png/alarm clock/82.png"]),
        "png/filelist.txt": "airplane/1.png\n",
    },
    "Sketchy": {**dict.fromkeys(SKETCHY), "info/testset.txt": "airplane/n02691156_58.jpg\n", "README.txt": ""},
    "Flickr25K": dict.fromkeys(["photo/airplane/0001.png", "photo/alarm clock/0100.png"]),
    "Flickr15K": {
        **dict.fromkeys(["images/1/391640.jpg", "images/2/9.jpg", "queries/1001.png", "queries/10002.png"]),
        "query_class.txt": "1001.png\t1\n10002.png\t2\n",
    },
    "Flickr15K (2013)": {
        **dict.fromkeys(f"images/source/{n}.jpg" for n in ("balloon/101", "balloon/7", "ball/9", "moon/9")),
        **dict.fromkeys(f"330sketches/{n}.png" for n in ("1/1", "1/2", "10/1")),
        "groundtruth": "1 balloon/101.jpg\n1 balloon/7.jpg\n2 ball/9.jpg\n2 moon/9.jpg\n",
    },
    "eCommerce": dict.fromkeys(["sketch/chair/1.png", "sketch/lamp/2.png", "photo/chair/a.jpg", "photo/lamp/b.jpg"]),
    "QuickDraw-Extended": dict.fromkeys(
        f"QuickDraw_{form.format(name)}"
        for form in ("sketches_final/{}/1.png", "images_final/{}/1.jpg")
        for name in ("palm_tree", "violin")
    ),
    "PACS": dict.fromkeys(
        f"kfold/{domain}/{name}"
        for domain in ("art_painting", "cartoon", "photo", "sketch")
        for name in ("dog/056_0001.jpg", "horse/105_0002.jpg")
    ),
    "ShoeV2": {
        **dict.fromkeys(f"ShoeV2_photo/{name}.png" for name in ("1135045020", "2429245009", "3")),
        **dict.fromkeys(
            f"ShoeV2_sketch/{name}.png" for name in ("1135045020_1", "1135045020_4", "2429245009_2", "3_1")
        ),
        "photo_train.txt": "1135045020.png\n3.png\n",
        "photo_test.txt": "2429245009.png\n",
        "sketch_train.txt": "1135045020_1.svg\n1135045020_4.svg\n3_1.svg\n",
        "sketch_test.txt": "2429245009_2.svg\n",
    },
    "your own": dict.fromkeys(["sketch/cat/1.png", "sketch/dog/7.png", "photo/cat/a.jpg", "photo/dog/b.jpg"]),
}

# The images of each class, over all splits, worked out by hand from the structures above.
SKETCHY_CLASSES = ("airplane", "car_(sedan)", "hot-air_balloon")
EXPECTED: dict[tuple[str, str], dict[str, list[str]]] = {
    ("ImageNet", "photos"): {
        name: [f"{split}/{name}/{i}.JPEG" for split in ("train", "val") for i in "12"]
        for name in ("n01440764", "n02102040")
    },
    ("TU-Berlin", "sketches"): {
        "airplane": ["png/airplane/1.png"],
        "alarm clock": ["png/alarm clock/81.png", "png/alarm clock/82.png"],
    },
    ("Sketchy", "sketches"): {
        kind: [f"256x256/sketch/tx_000000000000/{n}-{i}.png" for n in SKETCHY_NAMES if n.startswith(kind) for i in "12"]
        for kind in SKETCHY_CLASSES
    },
    ("Sketchy", "photos"): {
        kind: [f"256x256/photo/tx_000000000000/{n}.jpg" for n in SKETCHY_NAMES if n.startswith(kind)]
        for kind in SKETCHY_CLASSES
    },
    ("Flickr25K", "photos"): {"airplane": ["photo/airplane/0001.png"], "alarm clock": ["photo/alarm clock/0100.png"]},
    ("Flickr15K", "sketches"): {"1": ["queries/1001.png"], "2": ["queries/10002.png"]},
    ("Flickr15K", "photos"): {"1": ["images/1/391640.jpg"], "2": ["images/2/9.jpg"]},
    ("Flickr15K (2013)", "sketches"): {
        "1": ["330sketches/1/1.png", "330sketches/10/1.png"],
        "2": ["330sketches/1/2.png"],
    },
    ("Flickr15K (2013)", "photos"): {
        "1": ["images/source/balloon/101.jpg", "images/source/balloon/7.jpg"],
        "2": ["images/source/ball/9.jpg", "images/source/moon/9.jpg"],
    },
    ("eCommerce", "sketches"): {"chair": ["sketch/chair/1.png"], "lamp": ["sketch/lamp/2.png"]},
    ("eCommerce", "photos"): {"chair": ["photo/chair/a.jpg"], "lamp": ["photo/lamp/b.jpg"]},
    ("QuickDraw-Extended", "sketches"): {n: [f"QuickDraw_sketches_final/{n}/1.png"] for n in ("palm_tree", "violin")},
    ("QuickDraw-Extended", "photos"): {n: [f"QuickDraw_images_final/{n}/1.jpg"] for n in ("palm_tree", "violin")},
    ("PACS", "sketches"): {"dog": ["kfold/sketch/dog/056_0001.jpg"], "horse": ["kfold/sketch/horse/105_0002.jpg"]},
    ("PACS", "photos"): {"dog": ["kfold/photo/dog/056_0001.jpg"], "horse": ["kfold/photo/horse/105_0002.jpg"]},
    ("ShoeV2", "sketches"): {
        "Shoe": [f"ShoeV2_sketch/{name}.png" for name in ("1135045020_1", "1135045020_4", "2429245009_2", "3_1")]
    },
    ("ShoeV2", "photos"): {"Shoe": [f"ShoeV2_photo/{name}.png" for name in ("1135045020", "2429245009", "3")]},
    ("your own", "sketches"): {"cat": ["sketch/cat/1.png"], "dog": ["sketch/dog/7.png"]},
    ("your own", "photos"): {"cat": ["photo/cat/a.jpg"], "dog": ["photo/dog/b.jpg"]},
}


def png() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((9, 9), 200, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(params=["folder", "zip"])
def laid_out(request, tmp_path):
    """Return a function that lays a structure out and returns the folder or zip archive it lies in."""

    def make(structure: str) -> Path:
        folder = tmp_path / structure
        for number, (name, text) in enumerate(STRUCTURES[structure].items()):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            # Images differ behind their end, which decoders do not read: no two splits share one.
            content = png() + bytes([number]) if text is None else text.encode()
            (folder / name).write_bytes(content)
        if request.param == "folder":
            return folder
        packed = folder.with_suffix(".zip")
        with zipfile.ZipFile(packed, "w") as file:
            for path in sorted(folder.rglob("*")):
                file.write(path, path.relative_to(folder))
        return packed

    return make


def test_every_dataset_of_the_readme_is_tried_here():
    assert set(DATASETS) == set(EXPECTED)
    assert {name for name, _ in DATASETS} == set(STRUCTURES)


@pytest.mark.parametrize(("name", "column"), EXPECTED)
def test_the_lines_of_the_readme_read_the_published_structure(laid_out, name, column):
    spec = DATASETS[name, column]
    layout = layouts.get(spec.layout)
    found: dict[str, list[str]] = {}
    for split in spec.split:
        with layout.opened(laid_out(name), spec, split) as opened:
            for kind in choose(spec.categories, opened.classes):
                found.setdefault(kind, []).extend(opened.items(kind).ids())
    assert {kind: sorted(ids) for kind, ids in found.items()} == {
        kind: sorted(ids) for kind, ids in EXPECTED[name, column].items()
    }


BOTH = sorted(name for name, column in EXPECTED if column == "photos" and (name, "sketches") in EXPECTED)


@pytest.mark.parametrize("name", BOTH)
def test_sketches_and_photos_of_a_dataset_have_the_same_classes(laid_out, name):
    source = laid_out(name)
    photos, sketches = (
        layouts.get(spec.layout).available(source, spec) for spec in (DATASETS[name, c] for c in ("photos", "sketches"))
    )
    check_classes(photos, sketches)


@pytest.mark.parametrize(("name", "split"), [("Sketchy", "all"), ("ShoeV2", "train"), ("ShoeV2", "test")])
def test_every_sketch_finds_the_photo_it_was_drawn_from(laid_out, name, split):
    source = laid_out(name)
    photos, sketches = (
        split_instances(source=source, dataset_name="d", dataset=DATASETS[name, column], split=split)
        for column in ("photos", "sketches")
    )
    check_photos(photos, sketches)
    assert len(set(photos)) == len(photos)
    assert set(photos) == set(sketches)


def test_a_photo_that_is_taken_away_is_missed(laid_out, monkeypatch):
    left = {name: text for name, text in STRUCTURES["ShoeV2"].items() if name != "ShoeV2_photo/3.png"}
    monkeypatch.setitem(STRUCTURES, "ShoeV2", {**left, "photo_train.txt": "1135045020.png\n"})
    source = laid_out("ShoeV2")
    photos, sketches = (
        split_instances(source=source, dataset_name="d", dataset=DATASETS["ShoeV2", column], split="train")
        for column in ("photos", "sketches")
    )
    with pytest.raises(InputError, match="1 of 3 sketches have no photo of their object: 'Shoe/3'"):
        check_photos(photos, sketches)


def test_images_keep_the_names_of_their_objects(laid_out, tmp_path):
    spec = DATASETS["ShoeV2", "sketches"].model_copy(update={"size": 8})
    build_images(
        source=laid_out("ShoeV2"), dataset_name="d", dataset=spec, split="train", output=tmp_path / "i.h5", code="c"
    )
    images = read_images(tmp_path / "i.h5")
    assert images.ids == [f"ShoeV2_sketch/{name}.png" for name in ("1135045020_1", "1135045020_4", "3_1")]
    assert images.instances == ["Shoe/1135045020", "Shoe/1135045020", "Shoe/3"]


def test_drawings_still_in_svg_are_told_of(tmp_path):
    (tmp_path / "ShoeV2_sketch").mkdir()
    for i in range(3):
        (tmp_path / "ShoeV2_sketch" / f"1_{i}.svg").write_text("<svg/>")
    with pytest.raises(InputError, match=r"files that end in \.svg \(3\), of which drawings in SVG have to be conv"):
        layouts.get("listed").available(tmp_path, DATASETS["ShoeV2", "sketches"])


def test_archives_in_a_folder_are_told_of(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "n01440764.tar").write_bytes(b"")
    (tmp_path / "train" / "notes").write_bytes(b"")
    spec = Dataset(layout="folders", folder="train", split={"train": "rest"})
    with pytest.raises(InputError, match=r"end in \.tar \(1\), nothing \(1\), of which archives have to be unpacked"):
        layouts.get("folders").available(tmp_path, spec)


def test_objects_of_the_real_sketchy_are_those_its_page_tells_of(shared_data):
    source = shared_data / "sketchy.zip"
    common = {"layout": "folders", "split": {"all": "rest"}}
    sketches = Dataset(**common, folder="sketch", instance=r"(.+)-\d+")
    photos = Dataset(**common, folder="photo", instance="(.+)")
    drawn = split_instances(source=source, dataset_name="s", dataset=sketches, split="all")
    shown = split_instances(source=source, dataset_name="p", dataset=photos, split="all")
    assert (len(drawn), len(set(drawn)), len(shown), len(set(shown))) == (3125, 578, 3125, 3125)
    assert sketches_without_photo(shown, drawn) == []
    check_photos(shown, drawn)
    # Sketches are told from each other by a number that photos have not.
    with pytest.raises(InputError, match="names no object in 3,125 of 3,125 file names: 'n02691156_10151'"):
        split_instances(
            source=source, dataset_name="p", dataset=photos.model_copy(update={"instance": r"(.+)-\d+"}), split="all"
        )
    wrong = sketches.model_copy(update={"instance": "(.+)"})
    names = split_instances(source=source, dataset_name="s", dataset=wrong, split="all")
    with pytest.raises(InputError, match=r"3,125 of 3,125 sketches have no photo .* Not one has"):
        check_photos(shown, names)


def test_real_sketches_and_photos_of_two_sources_share_classes_by_rename(shared_data):
    def classes(archive, folder, **settings):
        spec = Dataset(layout="folders", folder=folder, split={"all": "rest"}, **settings)
        return layouts.get("folders").available(shared_data / archive, spec)

    sketches = classes("tu-berlin.zip", "png")
    with pytest.raises(InputError, match=r"Perhaps these are the same: give the photos rename: \{"):
        check_classes(classes("sketchy.zip", "photo"), sketches)
    renamed = {"alarm_clock": "alarm clock"}
    assert "alarm clock" in classes("sketchy.zip", "photo", rename=renamed)
    assert "alarm_clock" not in classes("sketchy.zip", "photo", rename=renamed)
