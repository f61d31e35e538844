import html
import re
import shlex
from html.parser import HTMLParser
from urllib.parse import unquote

import pytest
from trazo.config import Settings, Study
from trazo.report.comparison import Compared, compare
from trazo.report.figures import render_figure
from trazo.report.measures import Summary
from trazo.report.page import render_page
from trazo.report.published import PublishedValue
from trazo.report.story import command_of, duration, named_differences, shown_settings, tally
from trazo.report.tables import render_table

from .conftest import CLASSES, STUDY

VOID = {"meta", "link", "br", "img", "hr", "input", "path", "use", "image"}
PUBLISHED_SIZE = {**STUDY, "datasets": {"toys": {**STUDY["datasets"]["toys"], "split": {"train": 1000, "test": 200}}}}


class Reader(HTMLParser):
    """Collects what a browser would act on, and whether elements close in order."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.links, self.ids, self.references, self.text = [], [], [], [], [], []
        self.mismatched = []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attributes:
            if name in {"src", "href", "xlink:href", "srcset", "action", "data", "poster"}:
                self.links.append(value)
            if name == "id":
                self.ids.append(value)
            if name in {"aria-labelledby", "aria-describedby"}:
                self.references.append(value)
            if name.startswith("on"):
                self.mismatched.append(f"event handler {name}")

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag in VOID:
            return
        if not self.open or self.open.pop() != tag:
            self.mismatched.append(tag)

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def page(finished, tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    study = finished.study
    tables, figures = [], []
    for name, table in study.tables.items():
        files = {end: folder / f"{name}.{end}" for end in ("csv", "md", "tex")}
        render_table(
            table=table, study=study, metrics=finished.material.metrics, published=finished.material.published, **files
        )
        tables += files.values()
    for name, figure in study.figures.items():
        files = {end: folder / f"{name}.{end}" for end in ("svg", "png")}
        render_figure(figure=figure, study=study, material=finished.material, **files)
        figures += files.values()
    material = finished.material
    compare(study=study, metrics=material.metrics, published=material.published, output=folder / "comparison.csv")

    def render(output):
        render_page(
            study=study,
            original=Study.model_validate(PUBLISHED_SIZE),
            settings=Settings(studies=["bees"], scale="quick"),
            sources={"toys": "drawings <from> https://example.org/a&b"},
            metrics=material.metrics,
            comparison=folder / "comparison.csv",
            tables=tables,
            figures=figures,
            records=finished.records,
            output=output,
        )
        return output.read_text()

    return render(folder / "report.html"), render


@pytest.fixture
def read(page):
    reader = Reader()
    reader.feed(page[0])
    reader.close()
    return reader


def test_the_page_is_well_formed(page, read):
    assert read.mismatched == []
    assert read.open == []
    assert len(read.ids) == len(set(read.ids))
    assert set(read.references) <= set(read.ids)
    assert page[0].startswith("<!DOCTYPE html>")


def test_the_page_asks_nothing_of_the_network(page, read):
    assert all(link.startswith(("#", "data:")) for link in read.links)
    assert not [tag for tag, _ in read.tags if tag in {"script", "iframe", "object", "embed"}]
    style = page[0][page[0].index("<style>") : page[0].index("</style>")]
    assert "@import" not in style
    assert "url(" not in style


def test_hostile_names_are_shown_and_do_nothing(read):
    words = "".join(read.text)
    for name in [
        *CLASSES,
        'Bees <i>& "others"</i>',
        "<script>alert(1)</script>",
        "drawings <from> https://example.org/a&b",
    ]:
        assert " ".join(name.split()) in " ".join(words.split())
    assert {tag for tag, _ in read.tags} & {"script", "from"} == set()


def test_the_page_opens_with_what_differs_from_the_published_set_up(read):
    words = " ".join("".join(read.text).split())
    notice = words.index("8 training drawings a class instead of 1000")
    assert "4 test drawings a class instead of 200" in words
    assert notice < words.index("Best is")


def test_the_verdict_names_the_best_method_with_chance_and_published_value(read):
    words = " ".join("".join(read.text).split())
    # large with cosine: the mean of 0.6, 0.63, 0.66; published total 43.
    assert "Best is large · cosine, with a mean average precision of 63.0 %" in words
    assert "(95 % interval 58.0–68.0)" in words
    assert "The study published 43.0 %: ours is 20.0 points higher" in words
    assert re.search(r"times chance \(\d+\.\d %\)", words)


def test_every_published_value_stands_on_the_page(read, finished):
    rows = [a for tag, a in read.tags if tag == "th" and a.get("scope") == "row"]
    published = len(finished.material.published.read_text().splitlines()) - 2 - 4
    assert len(rows) >= published


def test_tables_have_headers_and_downloads(page, read):
    tables = sum(tag == "table" for tag, _ in read.tags)
    assert tables == sum(tag == "caption" for tag, _ in read.tags)
    assert all("scope" in attributes for tag, attributes in read.tags if tag == "th")
    downloads = {a["download"]: a["href"] for tag, a in read.tags if "download" in a}
    assert {"by-class.csv", "by-class.md", "by-class.tex", "metrics.csv", "comparison.csv"} <= set(downloads)
    carried = unquote(downloads["metrics.csv"].split(",", 1)[1])
    assert carried.startswith("study,dataset,model")
    assert CLASSES[1] in carried


def test_every_picture_has_words(read, finished):
    pictures = [a for tag, a in read.tags if tag == "svg" and a.get("role") == "img"]
    assert len(pictures) == len(finished.study.figures)
    assert all(a["aria-labelledby"] in read.ids for a in pictures)


def test_links_within_pictures_lead_to_their_own_parts(page):
    targets = set(re.findall(r'\bid="([^"]+)"', page[0]))
    used = set(re.findall(r'href="#([^"]+)"', page[0])) | set(re.findall(r"url\(#([^)]+)\)", page[0]))
    assert {html.unescape(u) for u in used} <= targets


def test_the_page_tells_how_it_was_made(read):
    words = " ".join("".join(read.text).split())
    assert "snakemake --cores all results/bees/report.html --config 'studies=[bees]' scale=quick" in words
    assert "0123456789abcdef" in words
    assert "cpu <x>" in words


def test_the_page_is_the_same_every_time(page, tmp_path):
    text, render = page
    assert render(tmp_path / "again.html") == text


def test_the_command_leaves_folders_of_this_machine_to_fill_in():
    study = Study.model_validate({**STUDY, "datasets": {"toys": {**STUDY["datasets"]["toys"], "source": "quick"}}})
    sources = {"quick": "/home/someone/drawings", "other": "/elsewhere"}
    settings = Settings(studies=["bees"], sources=sources, overrides={"bees": {"seeds": [1]}})
    words = shlex.split(command_of("bees", settings, study))
    assert words[:5] == ["snakemake", "--cores", "all", "results/bees/report.html", "--config"]
    assert words[5:] == ["studies=[bees]", "sources={quick: path/to/quick}", 'overrides={"bees": {"seeds": [1]}}']
    assert "/home" not in str(shown_settings(settings))


def test_equal_differences_of_several_models_are_told_once():
    changed = {**STUDY, "models": {}}
    for name, model in STUDY["models"].items():
        changed["models"][name] = {**model, "stages": [{**model["stages"][0], "epochs": 20}]}
    found = named_differences(Study.model_validate(STUDY), Study.model_validate(changed))
    assert found == ["small (stage classify) and large (stage classify): 2 epochs instead of 20"]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.25, "0.25 s"), (9.96, "10.0 s"), (59.4, "59 s"), (200, "3 min 20 s"), (3660, "1 h 1 min")]
)
def test_times_are_told_as_people_tell_them(seconds, text):
    assert duration(seconds) == text


def test_the_tally_counts_points_and_reasons():
    def value(published, measured, unit="%", why=""):
        row = PublishedValue("s", "", "", "d", "m", "", "", "", "", "", "map", published, unit, "")
        summary = Summary(measured, None, measured - 1, measured + 1, 1, 1) if measured is not None else None
        return Compared(row, summary, why)

    counted = tally([value(50, 50.5), value(50, 40), value(0.5, 0.53, ""), value(50, 60), value(1, None, why="no")])
    assert (counted.total, counted.measured, counted.judged) == (5, 4, 4)
    assert (counted.inside, counted.above, counted.below) == (2, 1, 1)
    # Differences in points: 0.5, −10, 3, 10.
    assert counted.median == pytest.approx((0.5 + 3) / 2)
    assert counted.unmeasured == {"no": 1}
