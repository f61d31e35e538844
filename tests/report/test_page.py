import html
import re
import shlex
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
from trazo import store
from trazo.config import BranchWeights, OtherModel, Settings, Study, read_settings, read_study
from trazo.report.comparison import Compared, compare
from trazo.report.departures import caveat, named_differences
from trazo.report.figures import render_figure
from trazo.report.front import TEMPLATES
from trazo.report.measures import Summary, read_measures
from trazo.report.page import _SCRIPTS as SCRIPTS
from trazo.report.page import render_page
from trazo.report.published import PUBLISHED_COLUMNS, PublishedValue
from trazo.report.story import best_by_size, command_of, duration, methods, shown_settings, tally
from trazo.report.tables import render_table

from .conftest import CLASSES, STUDY, measure

VOID = {"meta", "link", "br", "img", "hr", "input", "path", "use", "image", "rect"}
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
    assert not [tag for tag, _ in read.tags if tag in {"iframe", "object", "embed"}]
    assert not [a for tag, a in read.tags if tag == "script" and set(a) - {"id", "type"}]
    for name in SCRIPTS:
        program = (TEMPLATES / name).read_text()
        assert not re.search(r"\bfetch\(|XMLHttpRequest|\bimport\(|https?:|innerHTML = [^`]", program), name
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
    assert "from" not in {tag for tag, _ in read.tags}
    scripts = [a for tag, a in read.tags if tag == "script"]
    # Data and one program; what names say is no element of the page.
    assert all(a.get("id", "").partition("-")[0] in {"picture", "pictures", "query", ""} for a in scripts)
    assert sum("type" not in a for a in scripts) == 1
    assert "alert(1)" in words


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
    pictures = [a for tag, a in read.tags if tag == "svg" and a.get("role") == "img" and a.get("class") != "flow"]
    assert len(pictures) == len(finished.study.figures)
    assert all(a["aria-labelledby"] in read.ids for a in pictures)


def test_the_classes_stand_in_label_order_folded_beside_the_data(page, read):
    part = page[0][page[0].index("<h3>Data</h3>") : page[0].index("<h3>Versions</h3>")]
    assert "<summary>The 3 classes of toys</summary>" in part
    names = [html.unescape(name) for name in re.findall(r"<li>(.*?)</li>", part, flags=re.DOTALL)]
    assert names == CLASSES
    assert "<details><summary>The 3" in part


def test_classes_drawn_at_random_say_so(finished, tmp_path):
    toys = {**STUDY["datasets"]["toys"], "categories": {"random": 3, "seed": 7}}
    study = Study.model_validate({**STUDY, "datasets": {"toys": toys}, "tables": {}, "figures": {}})
    files = {"metrics": finished.material.metrics, "comparison": tmp_path / "comparison.csv"}
    compare(study=study, metrics=files["metrics"], published=finished.material.published, output=files["comparison"])
    render_page(
        study=study, original=study, settings=Settings(studies=["bees"]), sources={}, **files, tables=[], figures=[],
        records=finished.records, output=tmp_path / "report.html",
    )  # fmt: skip
    assert "The 3 classes of toys, drawn at random (seed 7)" in (tmp_path / "report.html").read_text()


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
    assert found == ["small and large: 2 epochs instead of 20"]


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


def test_every_table_of_the_page_says_what_sets_the_run_apart(read, finished):
    words = " ".join("".join(read.text).split())
    line = "Not the published set-up (scale: quick): the head of this page has the list."
    assert words.count(line) == len(finished.study.tables)
    told = "toys: 8 training drawings a class instead of 1000, 4 test drawings a class instead of 200."
    assert words.index("Not quite the published set-up") < words.index(told) < words.index("Verdict")


def test_the_sum_of_step_times_is_not_passed_off_as_the_runs_time(read):
    words = " ".join("".join(read.text).split())
    assert "Time inside the steps" in words
    assert "omputing time" not in words


def test_verdicts_stand_in_the_studys_order(tmp_path):
    toys = {**STUDY["datasets"]["toys"], "split": {"train": 8, "test": 4}}
    retrievals = [
        {"name": name, "models": ["small"], "queries": "toys/test", "gallery": "toys/train"}
        for name in ("zebra", "ant")
    ]
    study = Study.model_validate(
        {**STUDY, "datasets": {"toys": toys}, "retrievals": retrievals, "published": None, "tables": {}, "figures": {}}
    )
    rows = [measure(dataset=d, model="small", distance="cosine", metric="map", value=0.5) for d in ("ant", "zebra")]
    store.write_metrics(tmp_path / "metrics.csv", rows)
    files = {"metrics": tmp_path / "metrics.csv", "comparison": tmp_path / "comparison.csv"}
    compare(study=study, metrics=files["metrics"], published=tmp_path / "none.csv", output=files["comparison"])
    output = tmp_path / "report.html"
    render_page(
        study=study, original=study, settings=Settings(studies=["bees"]), sources={}, **files, tables=[], figures=[],
        records=[], output=output,
    )  # fmt: skip
    assert re.findall(r"<h3>(zebra|ant)</h3>", output.read_text()) == ["zebra", "ant"]


def test_methods_of_different_rankers_and_codes_are_told_apart(tmp_path, toy_study):
    kinds = [("none", 64, 2048, "exact", 0.5), ("none", 64, 2048, "ivf", 0.4), ("pq", 8, 64, "exact", 0.3),
             ("pq", 8, 32, "exact", 0.2)]  # fmt: skip
    rows = [
        measure(dataset="toys-test", model="small", distance="cosine", metric="map", average="classes", reducer=reducer,
                size=size, bits=bits, ranker=ranker, value=value)
        for reducer, size, bits, ranker, value in kinds
    ]  # fmt: skip
    store.write_metrics(tmp_path / "metrics.csv", rows)
    found = methods(read_measures(tmp_path / "metrics.csv"), toy_study, [])
    assert [method.map.value for method in found] == pytest.approx([50, 40, 30, 20])
    assert [method.name for method in found] == [
        "small · cosine (exact)", "small · cosine (ivf)", "small · PQ 8 (64 bits) · cosine (exact)",
        "small · PQ 8 (32 bits) · cosine (exact)",
    ]  # fmt: skip


def sized_measures():
    """Rows of three sizes: features as they are, codes of 8 and 2 values and of as many bytes in bits."""
    kinds = [("none", 64, 2048, "cosine", 0.5), ("pca", 8, 256, "cosine", 0.4), ("umap", 8, 256, "cosine", 0.45),
             ("pca", 2, 64, "cosine", 0.2), ("cbs", 2, 64, "hamming", 0.3)]  # fmt: skip
    for reducer, size, bits, distance, value in kinds:
        of = {"dataset": "toys-test", "model": "small", "reducer": reducer, "size": size, "bits": bits,
              "ranker": "exact", "distance": distance}  # fmt: skip
        for average in ("queries", "classes"):
            yield measure(**of, metric="map", average=average, value=value, ci_low=value - 0.01, ci_high=value + 0.01)
        yield {**measure(**of, metric="memory", value=size / 10), "average": ""}
        yield {**measure(**of, metric="query_time", value=size / 100), "average": ""}


def test_the_verdict_names_the_best_method_of_every_size_with_its_cost(tmp_path, toy_study):
    store.write_metrics(tmp_path / "metrics.csv", sized_measures())
    found = methods(read_measures(tmp_path / "metrics.csv"), toy_study, [])
    best = best_by_size(found)
    assert [(m.name, m.size_words, count) for m, count in best] == [
        ("small · CBS 2 · hamming", "64 bits, 8 B", 2),
        ("small · UMAP 8 · cosine", "8 values, 32 B", 2),
        ("small · cosine", "64 values, 256 B", 1),
    ]
    assert best[1][0].costs["memory"].value == pytest.approx(0.8)
    assert best[1][0].costs["query_time"].value == pytest.approx(0.08)
    # With one size, or none shorter than the features, there is nothing to choose from.
    assert best_by_size([m for m in found if not m.reducer]) == []
    assert best_by_size([m for m in found if m.size == 8]) == []
    files = {"metrics": tmp_path / "metrics.csv", "comparison": tmp_path / "comparison.csv"}
    compare(study=toy_study, metrics=files["metrics"], published=tmp_path / "none.csv", output=files["comparison"])
    study = toy_study.model_copy(update={"tables": {}, "figures": {}})
    render_page(
        study=study, original=study, settings=Settings(studies=["bees"]), sources={}, **files, tables=[],
        figures=[], records=[], output=tmp_path / "report.html",
    )  # fmt: skip
    text = (tmp_path / "report.html").read_text()
    words = " ".join(re.sub(r"<[^>]+>", " ", text[text.index('id="results"') :]).split())
    assert "A query takes 0.64 ms, and the gallery 6.40 MB of memory." in words
    assert "8 values, 32 B small · UMAP 8 · cosine 45.0 44.0–46.0 0.08 0.80 2" in words


def _studies(name, scale="quick", over=None):
    settings = read_settings({"studies": [name], "scale": scale, "overrides": {name: over} if over else {}})
    return read_study(name, settings), read_study(name, settings, published_size=True), settings


def test_a_smaller_run_says_how_it_differs():
    stages = [{"classify": {"epochs": e, "batch_size": b}} for e, b in ((6, 32), (5, 48))]
    over = {
        "datasets": {"animals": {"split": {"train": 400, "test": 37}, "size": 168}},
        "models": {"alexnet": {"stages": stages[0]}, "resnet34": {"size": 56, "stages": stages[1]}},
    }
    study, original, settings = _studies("animals", "full", over)
    assert named_differences(study, original) == [
        "animals: 400 training drawings a class instead of 1000, 37 test drawings a class instead of 200, images of "
        "168×168 pixels instead of 224×224",
        "alexnet: 6 epochs instead of 20, batches of 32 instead of 128",
        "resnet34: inputs of 56×56 pixels instead of the images' own size, 5 epochs instead of 20, batches of 48 "
        "instead of 128",
    ]
    words = caveat(study, original, settings.model_copy(update={"scale": "quick"}))
    assert words.startswith("Not the published set-up (scale: quick): animals: 400 training drawings a class instead")
    assert words.endswith(
        "pixels instead of the images' own size, 5 epochs instead of 20, batches of 48 instead of 128."
    )
    brief = caveat(study, original, settings.model_copy(update={"scale": "quick"}), brief=True)
    assert brief == "Not the published set-up (scale: quick): the head of this page has the list."


def test_the_quick_animals_are_told_without_keys_or_missing_values():
    study, original, _ = _studies("animals")
    told = named_differences(study, original)
    assert len(told) > 2
    assert not [line for line in told if re.search(r"\bNone\b|\bnothing\b|\w\.\w|_", line)]


@pytest.mark.parametrize(
    ("over", "sentence"),
    [
        ({"datasets": {"animals": {"categories": {"random": 5}}}},
         "animals: 5 classes drawn at random (seed 0) instead of 12 classes (sheep, bear, bee, …)"),
        ({"datasets": {"animals": {"raster": {"thickness": 5}}}}, "animals: raster thickness 5 instead of 3"),
        ({"models": {"resnet34": {"stages": {"classify": {"optimizer": {"adam": {"lr": 0.001}}}}}}},
         "resnet34: optimizer adam (learning rate 0.001) instead of sgd (0.01)"),
        ({"models": {"resnet34": {"stages": {"classify": {"optimizer": {"sgd": {"momentum": 0.5}}}}}}},
         "resnet34: momentum 0.5 instead of 0.9"),
        ({"models": {"resnet34": {"feature": "layer4"}}}, "resnet34: feature layer4 instead of pool"),
        ({"models": {"v1.5": {"architecture": "alexnet", "feature": "fc7", "stages": [
            {"name": "a", "data": "animals/train", "epochs": 1, "optimizer": {"sgd": {"lr": 0.1}}}]}}},
         "model v1.5 was added"),
        ({"seeds": [0, 1]}, "seeds 0, 1 instead of 0"),
    ],
)  # fmt: skip
def test_differences_are_sentences(over, sentence):
    study, original, settings = _studies("animals", "full", over)
    assert named_differences(study, original) == [sentence]
    assert caveat(study, original, settings) == f"Not the published set-up: {sentence}."


def _with_weights(weights, settings):
    """Return the demo with three models, the second of which starts somewhere."""
    study = read_study("demo", settings)
    small = study.models["small"]
    models = {"small": small, "other": small.model_copy(update={"weights": weights}), "third": small}
    return study.model_copy(update={"models": models})


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ("pretrained", "pretrained weights of torchvision"),
        ("mine", "file resnet.pth"),
        ("some/where/else.safetensors", "file else.safetensors"),
        ("results/big/models/base/seed3/imagenet/checkpoint.pt", "stage imagenet of base (study big, seed 3)"),
        (OtherModel(model="small"), "stage classify of small at epoch 8"),
        (OtherModel(model="small", epoch=0), "stage classify of small at epoch 0"),
    ],
)
def test_the_starting_weights_of_every_model_stand_below_tables(weights, words):
    settings = read_settings({"studies": ["demo"], "sources": {"mine": "/home/somebody/resnet.pth"}})
    study = _with_weights(weights, settings)
    assert caveat(study, study, settings) == f"Starting weights: small, third: drawn at random; other: {words}."
    # A table of that model alone still knows the one that it starts from.
    assert caveat(study, study, settings, models=["other"]) == f"Starting weights: other: {words}."


def test_weights_by_part_are_told_part_by_part():
    settings = read_settings({"studies": ["demo"]})
    weights = BranchWeights(sketch=OtherModel(model="small"), shared="pretrained")
    study = _with_weights(weights, settings)
    assert caveat(study, study, settings, models=["other"]) == (
        "Starting weights: other: sketch layers from stage classify of small at epoch 8, shared layers from pretrained "
        "weights of torchvision, photo layers from random weights."
    )


def test_a_smaller_form_that_draws_its_weights_says_so():
    settings = read_settings({"studies": ["demo"]})
    original, study = _with_weights("pretrained", settings), _with_weights(None, settings)
    assert caveat(study, original, settings) == (
        "Not the published set-up: other: starting weights drawn at random instead of pretrained weights of "
        "torchvision. Starting weights: small, other, third: drawn at random."
    )
    for before in (OtherModel(model="small"), OtherModel(model="small", stage="classify", epoch=0)):
        told = named_differences(study, _with_weights(before, settings))
        assert len(told) == 1, told
        assert told[0].startswith("other: starting weights drawn at random instead of stage classify of small at")


def test_parts_that_differ_alike_share_a_sentence_and_stages_are_named_where_there_are_several():
    study, original, _ = _studies("quickdraw")
    told = named_differences(study, original)
    (checkpoints,) = (line for line in told if "weights kept after 8 epochs instead of 17" in line)
    assert checkpoints.startswith("sknet and skresnet: 10 epochs instead of 90, ")
    assert "sknet-b-20000: 400 iterations instead of 20000" in told
    assert told[-1].startswith("the report shows other choices in ")
    second = {
        **STUDY["models"]["small"],
        "stages": [{**STUDY["models"]["small"]["stages"][0], "name": n} for n in "ab"],
    }
    longer = {**second, "stages": [second["stages"][0], {**second["stages"][1], "epochs": 9}]}
    forms = [Study.model_validate({**STUDY, "models": {**STUDY["models"], "small": m}}) for m in (longer, second)]
    (sentence,) = named_differences(*forms)
    assert sentence.startswith("small (stage b): 9 epochs instead of")


def test_nothing_is_said_where_nothing_measured_differs():
    assert caveat(*_studies("animals", "full")) == ""
    assert caveat(*_studies("demo")) == ""
    assert caveat(*_studies("animals", "full", {"title": "Mine", "figures": {"training": {"title": "Ours"}}})) == ""


def test_stand_in_data_are_named_though_the_settings_are_the_published_ones(toy_study):
    toys = toy_study.datasets["toys"].model_copy(update={"stands_for": "real bees"})
    study = toy_study.model_copy(update={"datasets": {"toys": toys}})
    assert caveat(study, study, Settings(studies=["bees"])) == "Stand-in data: toys in place of real bees."


def test_planning_a_caveat_loads_nothing_heavy():
    script = (
        "import sys, trazo.report.departures as d, trazo.report.tables; assert d.caveat;"
        "print([m for m in ('matplotlib', 'pandas', 'torch', 'PIL', 'jinja2', 'scipy') if m in sys.modules])"
    )
    library = Path(__file__).parents[2] / "workflow"
    done = subprocess.run([sys.executable, "-c", script], cwd=library, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_summary_names_scale_device_data_and_stand_ins(tmp_path):
    from trazo.config import Study
    from trazo.report.story import run_summary

    study = Study.model_validate(
        {
            "title": "T",
            "datasets": {"cats": {"source": "x", "split": {"train": 3, "test": "rest"}, "stands_for": "lions"}},
        }
    )
    text = run_summary(
        "s", study, scale="quick", sources={"cats": "x (local copy)"}, devices=["an abacus"], versions={"torch": "2"},
        caveat="Not the published set-up: 3 instead of 9.", command="snakemake",
    )  # fmt: skip
    imported = Study.model_validate({"title": "T", "features": {"mine": {"source": "f.npz"}}})
    words = run_summary(
        "s", imported, scale="full", sources={"mine": "imported from f.npz"}, devices=[], versions={}, caveat="",
        command="snakemake",
    )  # fmt: skip
    assert "Data: mine imported from f.npz." in words
    for word in ("quick", "an abacus", "cats from x (local copy)", "3 train", "in place of lions", "3 instead of 9"):
        assert word in text


def test_given_splits_are_told_in_plain_words():
    from trazo.config import Study
    from trazo.report.story import run_summary

    def study(**split):
        dataset = {"source": "x", "layout": "split_folders", "split": split}
        return Study.model_validate({"title": "T", "datasets": {"scenes": dataset}})

    def data_of(run):
        text = run_summary("s", run, scale="full", sources={}, devices=[], versions={}, caveat="", command="c")
        return text.partition("Data: ")[2].partition(".")[0]

    whole, part = study(train="all", test="all"), study(train=50, test="all")
    assert data_of(whole) == "scenes from x, all of train, all of test"
    assert data_of(part) == "scenes from x, 50 train a class, all of test"
    assert named_differences(part, whole) == ["scenes: 50 training images a class instead of all"]


def test_queries_left_out_are_told_in_the_verdict_and_below_the_tables(tmp_path):
    study = Study.model_validate(
        {
            "title": "T",
            "features": {"a": {"source": "a.npz"}, "b": {"source": "b.npz"}},
            "retrievals": [{"features": ["a"]}, {"features": ["b"], "metrics": ["p@1"]}],
            "tables": {"all": {"title": "All", "metrics": ["map", "p@1"], "rows": "metric"}},
        }
    )
    common = {"distance": "euclidean", "average": "queries"}
    rows = [
        {**common, "dataset": "a", "model": "a", "metric": "map", "value": 0.5, "queries": 10, "excluded": 3},
        {**common, "dataset": "b", "model": "b", "metric": "p@1", "value": 0.5, "queries": 9, "excluded": 1},
    ]
    store.write_metrics(tmp_path / "m.csv", rows)
    store.write_text(tmp_path / "comparison.csv", ",".join(PUBLISHED_COLUMNS) + "\n")
    files = {end: tmp_path / f"all.{end}" for end in ("csv", "md", "tex")}
    render_table(table=study.tables["all"], study=study, metrics=tmp_path / "m.csv",
                 published=tmp_path / "comparison.csv", **files)  # fmt: skip
    render_page(
        study=study, original=study, settings=Settings(), sources={}, metrics=tmp_path / "m.csv",
        comparison=tmp_path / "comparison.csv", tables=list(files.values()), figures=[], records=[],
        output=tmp_path / "page.html",
    )  # fmt: skip
    first = "3 of 13 queries have no relevant item in the gallery and are left out."
    second = "b: 1 of 10 queries has no relevant item in the gallery and is left out."
    page = (tmp_path / "page.html").read_text()
    verdict, tables = page[page.index('id="results"') :].split('id="tables"')
    assert f">{first}<" in verdict
    assert second in verdict
    for text in (tables, files["md"].read_text(), files["tex"].read_text()):
        assert f"a: {first}" in text
        assert second in text
