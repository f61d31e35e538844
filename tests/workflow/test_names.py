"""Names full of blanks, quotes, markup and shell characters, of everything that has one: a run, and what it says."""

import shutil
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml
from PIL import Image
from trazo.data.doodles import draw_many
from trazo.data.quickdraw import write_bin
from trazo.store import read_metrics

from tests.workflow.conftest import ROOT, STUDY, Project

pytestmark = pytest.mark.workflow

FOLDER = 'it\'s "my" $(touch ran) `touch ran`; & <blink>trazo</blink> * [a] #1'.replace("/", "")
CLASSES = [
    "<script>alert(1)<",
    '=1+cmd|"!A0"',
    "new\nline",
    'it\'s "quoted"',
    "$(touch ran)`touch ran`;&|",
    "{study} %s %(name)s * [a-z] \\",
    "\x1b]0;title\x07\x01",
]
DRAWN = ["two\nlines", "$(touch ran); 'x' & >blink< \"y\"", "- ñ * [a] #'"]


class Tags(HTMLParser):
    """Which elements a browser would make, and whether any would run something."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.handlers: list[str] = []
        self.scripts: list[tuple[str, str]] = []
        self._kind: str | None = None

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.handlers += [name for name, _ in attributes if name.startswith("on")]
        self._kind = (dict(attributes).get("type") or "") if tag == "script" else None

    def handle_data(self, data: str) -> None:
        if self._kind is not None:
            self.scripts.append((self._kind, data))


def copied(folder) -> Project:
    folder.mkdir()
    for part in ("workflow", "envs"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "Snakefile", folder / "Snakefile")
    (folder / "config.yaml").write_text("{device: cpu, threads: 1}\n")
    return Project(folder)


@pytest.fixture(scope="module")
def named(tmp_path_factory) -> Project:
    """A finished study of classes, files and folders with such names, in a project folder with such a name."""
    project = copied(tmp_path_factory.mktemp("names") / FOLDER)
    draw = np.random.default_rng(0)
    photos, drawings = project.folder / "my {photos} & 'things'", project.folder / '$(touch ran) "drawings"'
    for name in CLASSES:
        (photos / name).mkdir(parents=True)
        for number in range(6):
            picture = Image.fromarray(draw.integers(0, 256, (16, 16), dtype=np.uint8))
            picture.save(photos / name / f"{number} '\"$(touch ran)\n{{y}} <blink>.png")
    for name in DRAWN:
        write_bin(drawings / f"{name}.bin", draw_many("cat", 4, seed=1))
    split = {"train": 3, "test": 3}
    model = STUDY["models"]["one"]
    stage = {**model["stages"][0], "data": "photos/train", "validate_on": "photos/test"}
    search = STUDY["retrievals"][0]
    study = {
        "title": "A <script>alert(2)</script> & 'study' {study} \x1b[2J",
        "description": "</style><script>alert(3)</script>",
        "datasets": {
            "photos": {"source": "photos", "layout": "folders", "split": split, "size": 16},
            "drawings": {"source": "drawings", "split": {"test": 4}, "size": 16},
        },
        "models": {"one": {**model, "stages": [stage]}},
        "retrievals": [
            {**search, "models": ["one"], "queries": f"{data}/test", "gallery": f"{data}/test", "metrics": ["map"]}
            for data in ("photos", "drawings")
        ],
        "tables": {
            "map": {"title": "<blink>mAP</blink> \x1b[2J", "metrics": ["map"], "columns": ["dataset", "distance"]},
        },
        "figures": {
            "bars": {"title": "Bars <script> \x01", "kind": "class_bars", "options": {"retrieval": "photos-test"}},
            "sheet": {
                "title": "Sheet",
                "kind": "contact_sheet",
                "options": {"per_class": 1, "top": 3, "retrieval": "photos-test"},
            },
        },
    }
    project.write_study(study, "names")
    sources = {"photos": photos.name, "drawings": drawings.name}
    config = {"studies": ["names.yaml"], "sources": sources, "device": "cpu", "threads": 1}
    (project.folder / "config.yaml").write_text(yaml.safe_dump(config))
    printed = project.snakemake().stdout
    assert "\x1b[2J" not in printed
    assert "\x1b]0;" not in printed
    return project


def test_every_class_is_measured_under_its_own_name(named):
    rows = read_metrics(named.folder / "results/names/metrics.csv")
    for dataset, names in (("photos-test", CLASSES), ("drawings-test", DRAWN)):
        measured = {row.get("class", "") for row in rows if row["dataset"] == dataset and row["metric"] == "map"}
        assert {name for name in measured if name} == set(names)


def test_no_name_is_run_by_a_shell(named):
    assert list(named.folder.parent.rglob("ran")) == []


def test_no_name_is_run_or_hidden_by_a_browser(named):
    page = (named.folder / "results/names/report.html").read_text(encoding="utf-8")
    tags = Tags()
    tags.feed(page)
    assert not tags.names & {"blink", "iframe"}
    # The page's own script holds no name; names stand in data alone, where nothing ends the element they are in.
    assert not any("touch ran" in text or "alert(1)" in text for kind, text in tags.scripts if not kind)
    assert any("alert(1)" in text for kind, text in tags.scripts if kind == "application/json")
    assert not any("<" in text for kind, text in tags.scripts if kind == "application/json")
    assert sum(not kind for kind, text in tags.scripts if text.strip()) == 1
    assert tags.handlers == []
    shown = page.replace("&#34;", '"').replace("&#39;", "'")
    for name in ("&lt;script&gt;alert(1)&lt;", 'it\'s "quoted"', "$(touch ran)`touch ran`;&amp;|", "two\nlines"):
        assert name in shown, name
    assert not {character for character in page if ord(character) < 32} - {"\n", "\t"}
    for figure in ("bars", "sheet"):
        ElementTree.parse(named.folder / f"results/names/figures/{figure}.svg")


def test_a_finished_run_with_such_names_does_nothing_again(named):
    assert named.stale() == {}


def test_a_folder_with_braces_is_refused_with_the_reason(tmp_path):
    done = copied(tmp_path / "my {trazo}").snakemake("--dry-run", check=False)
    assert done.returncode != 0
    assert "takes what stands in braces for the name of a wildcard; rename that folder" in done.stdout
    assert "Traceback" not in done.stdout
