"""The page in a browser: opened from disk, asked of nothing else, played with, made narrow, dark and printed."""

import pytest
from trazo.config import Settings
from trazo.report.comparison import compare
from trazo.report.figures import render_figure
from trazo.report.page import render_page
from trazo.report.tables import render_table

from tests.browser import needs_browser, running

from .conftest import CLASSES

pytestmark = needs_browser


@pytest.fixture(scope="module")
def report(finished, tmp_path_factory):
    folder, study, material = tmp_path_factory.mktemp("report"), finished.study, finished.material
    made = []
    for name, table in study.tables.items():
        files = {end: folder / f"{name}.{end}" for end in ("csv", "md", "tex")}
        render_table(table=table, study=study, metrics=material.metrics, published=material.published, **files)
        made += files.values()
    drawn = []
    for name, figure in study.figures.items():
        files = {end: folder / f"{name}.{end}" for end in ("svg", "png")}
        plot = folder / f"{name}.json"
        render_figure(figure=figure, study=study, material=material, plot=plot, **files)
        drawn += [*files.values(), plot]
    compare(study=study, metrics=material.metrics, published=material.published, output=folder / "comparison.csv")
    render_page(
        study=study, original=study, settings=Settings(studies=["bees"]), sources={}, metrics=material.metrics,
        comparison=folder / "comparison.csv", tables=made, figures=drawn, records=finished.records,
        output=folder / "report.html",
    )  # fmt: skip
    return folder / "report.html"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with running(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture
def page(browser, report):
    shown = browser.open(report.as_uri())
    yield shown
    assert shown.errors == []
    # The page itself, and nothing else.
    assert shown.requests == [report.as_uri()]
    shown.close()


def test_a_column_is_sorted_by_numbers_both_ways_and_back_and_totals_stay_below(page):
    names = "[...document.querySelectorAll('#table-by-class tbody th')].map(cell => cell.textContent.trim())"
    sort = "document.querySelectorAll('#table-by-class thead button.sort')"
    given = page.run(names)
    assert page.run(f"{sort}.length") == 5
    page.run(f"{sort}[1].click()")
    assert page.run(f"{sort}[1].parentElement.getAttribute('aria-sort')") == "descending"
    # mAP rises from class to class; the mean over classes is no class.
    assert page.run(names) == [*given[2::-1], given[3]]
    page.run(f"{sort}[1].click()")
    assert page.run(names) == given
    page.run(f"{sort}[1].click()")
    assert page.run("document.querySelectorAll('[aria-sort]').length") == 0
    assert page.run(names) == given


def test_rows_are_filtered_by_words_and_by_where_the_published_value_lies(page):
    rows = "[...document.querySelectorAll('#published tbody tr')].filter(row => !row.hidden).length"
    everything = page.run(rows)
    assert everything == 18
    page.run("""{ const input = document.querySelector('#published input[type=search]');
        input.value = 'large COSINE'; input.dispatchEvent(new Event('input')); }""")
    assert page.run(rows) == 4
    assert page.run("document.querySelector('#published .filter [role=status]').textContent") == "4 of 18 rows"
    page.run("""{ const input = document.querySelector('#published input[type=search]');
        input.value = ''; input.dispatchEvent(new Event('input'));
        const choice = document.querySelector('#published .filter select');
        choice.value = 'above'; choice.dispatchEvent(new Event('change')); }""")
    shown = page.run("[...document.querySelectorAll('#published tbody tr')].filter(r => !r.hidden)"
                     ".map(r => r.dataset.state)")  # fmt: skip
    assert shown
    assert set(shown) == {"above"}


def browse(page):
    page.run("document.getElementById('queries').scrollIntoView()")
    page.wait("document.getElementById('browser').dataset.ready === 'true'")


def test_a_query_can_be_browsed(page):
    browse(page)
    assert page.run("document.querySelectorAll('.q-queries button').length") == 12
    assert page.run("document.querySelectorAll('.q-ranked').length") == 4
    assert page.run("document.querySelectorAll('.q-ranked')[0].querySelectorAll('li').length") == 5
    # Pictures are there, and a class can be chosen.
    assert page.run("document.querySelector('.q-query .q-thumb').style.backgroundImage.slice(0, 9)") == 'url("blob'
    page.run("""{ const choice = document.querySelectorAll('.q-controls select')[0];
        choice.value = '1'; choice.dispatchEvent(new Event('change')); }""")
    page.wait("document.querySelectorAll('.q-queries button').length === 4")
    assert page.run("document.querySelector('.q-query b').textContent") == CLASSES[1]
    # Right ones are those of its class.
    judged = page.run("[...document.querySelectorAll('.q-list li')].map(li => [li.className, "
                      "li.querySelector('b').textContent.slice(2)])")  # fmt: skip
    assert judged
    assert all((kind == "right") == (name == CLASSES[1]) for kind, name in judged)
    # What was found can be searched for in turn.
    searched = page.run("{ const one = document.querySelector('.q-list button'); one.click(); one.title; }")
    page.wait(f"document.activeElement.className === 'q-query' && {searched!r}.includes("
              "document.querySelector('.q-query p').childNodes[2].textContent)")  # fmt: skip


def test_methods_are_hidden_and_set_against_each_other(page):
    browse(page)
    page.run("document.querySelectorAll('.q-methods button')[1].click()")
    page.wait("document.querySelectorAll('.q-ranked').length === 3")
    assert page.run("document.activeElement.textContent") == "small · cosine"
    page.run("""{ const choice = document.querySelectorAll('.q-controls select')[1];
        choice.value = 'differ'; choice.dispatchEvent(new Event('change')); }""")
    page.wait("document.querySelectorAll('.q-controls select').length === 4")
    told = page.run("[...document.querySelectorAll('.q-queries small')].map(one => Math.abs(parseInt("
                    "one.textContent.replace('\u2212', '-'))))")  # fmt: skip
    assert told == sorted(told, reverse=True)


def test_a_plot_answers_when_pointed_at_and_lines_can_be_hidden(page):
    page.run("document.getElementById('figure-curve').scrollIntoView({block: 'center'})")
    page.wait("document.querySelector('#figure-curve .plot-box').dataset.ready === 'true'")
    assert page.run("getComputedStyle(document.querySelector('#figure-curve > .scroll')).display") == "none"
    x, y = page.run("""(() => { const point = document.querySelectorAll('#figure-curve .plot-box .point')[5];
        const box = point.getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2]; })()""")
    page.point(x - 3, y)
    page.point(x, y)
    page.wait("document.querySelector('#figure-curve .hovertext')")
    assert "Precision" in page.run("document.querySelector('#figure-curve .hovertext').textContent")
    lines = "document.querySelectorAll('#figure-curve .plot-box .js-line').length"
    assert page.run(lines) == 4
    page.run("document.querySelector('#figure-curve .map-legend button').click()")
    page.wait(f"{lines} === 3")
    page.run("document.querySelector('#figure-curve .plot-toggle').click()")
    assert page.run("getComputedStyle(document.querySelector('#figure-curve > .scroll')).display") == "block"
    assert page.run("document.querySelector('#figure-curve > .scroll svg').getBoundingClientRect().width") > 200


def test_all_can_be_done_with_a_keyboard(page):
    page.run("document.querySelector('#table-by-class thead button.sort').focus()")
    page.press("Enter")
    assert page.run("document.querySelector('#table-by-class [aria-sort]') !== null")
    browse(page)
    page.run("document.querySelectorAll('.q-queries button')[3].focus()")
    page.press("Enter")
    page.wait("document.querySelectorAll('.q-queries button')[3].getAttribute('aria-pressed') === 'true'")
    assert page.run("document.activeElement === document.querySelectorAll('.q-queries button')[3]")
    page.press("ArrowLeft")
    assert page.run("document.activeElement === document.querySelectorAll('.q-queries button')[2]")
    # Whatever can be clicked can be reached, and has a name.
    nameless = page.run("""[...document.querySelectorAll('button, select, input, a[href]')].filter(one =>
        !(one.getAttribute('aria-label') || one.textContent.trim() || one.closest('label'))).length""")
    assert nameless == 0


@pytest.mark.parametrize("dark", [False, True])
def test_a_phone_of_360_pixels_shows_all_without_scrolling_sideways(browser, report, dark):
    shown = browser.open(report.as_uri(), width=360, height=740, dark=dark)
    browse(shown)
    for name in ("curve", "bars"):
        shown.run(f"document.getElementById('figure-{name}').scrollIntoView()")
        shown.wait(f"document.querySelector('#figure-{name} .plot-box').dataset.ready === 'true'")
    assert shown.run("document.documentElement.scrollWidth") <= 360
    wide = shown.run("""[...document.querySelectorAll('main *')].filter(one => one.getBoundingClientRect().right > 361
        && !one.closest('.scroll, .q-list, .unseen, .contents, pre, svg')).map(one => one.className)""")
    assert wide == []
    ground = shown.run("getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(18, 23, 27)" if dark else "rgb(246, 245, 241)")
    assert shown.errors == []
    shown.close()


def test_what_is_printed_is_the_still_picture(page):
    page.run("document.getElementById('figure-curve').scrollIntoView({block: 'center'})")
    page.wait("document.querySelector('#figure-curve .plot-box').dataset.ready === 'true'")
    assert not page.run("document.querySelector('#figure-curve > .scroll svg')")
    page.run("dispatchEvent(new Event('beforeprint'))")
    assert page.run("document.querySelector('#figure-curve > .scroll svg').getAttribute('role')") == "img"
    page.media(kind="print")
    assert page.run("getComputedStyle(document.querySelector('#figure-curve > .scroll')).display") == "block"
    assert page.run("getComputedStyle(document.querySelector('#figure-curve .plot-live')).display") == "none"
    assert page.run("getComputedStyle(document.getElementById('queries')).display") == "none"
    page.media()
