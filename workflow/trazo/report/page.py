"""`report.html`: one self-contained page that shows a study's results beside the published ones.

Gathers what the template needs; the words are made in `story`, the tables in `tables`, the pictures in `figures`.
"""

from __future__ import annotations

import base64
import gzip
import importlib.util
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

import numpy as np
import yaml

from trazo.config import Settings, Study
from trazo.errors import InputError
from trazo.report import departures, story
from trazo.report.artifacts import Pictures, class_names, keyed
from trazo.report.comparison import compared
from trazo.report.explorer import as_script, explorer_json, mapped_rows, shown_maps
from trazo.report.flow import flow_of, flow_svg
from trazo.report.front import TEMPLATES, card_of, template_environment
from trazo.report.hover import THEMED
from trazo.report.measures import left_out, lower_is_better, metric_label, read_measures, unit_of
from trazo.report.published import read_published
from trazo.report.queries import Browsed, browsed_queries
from trazo.report.significance import LEVEL, Significance
from trazo.report.tables import (
    build_table,
    header_levels,
    interval_text,
    mark_words,
    measured_text,
    published_text,
    table_legend,
)
from trazo.report.thumbnails import Sheets, left_out_words, make_sheets
from trazo.store import read_agreement, write_text

_TYPES = {".csv": "text/csv", ".md": "text/markdown", ".tex": "application/x-tex"}
# Longer files are named, not carried: a page of tens of megabytes opens slowly.
_MOST_CARRIED = 4 << 20
# A plot of more bytes stays a still picture.
_MOST_PLOTTED = 1 << 20
# Methods whose bars stand open in the verdict.
MOST_BARS = 8
# In this order: the first is what the others share.
_SCRIPTS = ("pictures.js", "tables.js", "plots.js", "maps.js", "queries.js")


@dataclass(frozen=True)
class Picture:
    """A figure as the page shows it: inline SVG, its caption, and the words for whoever cannot see it."""

    name: str
    title: str
    svg: str
    description: str
    wide: bool


@dataclass(frozen=True)
class Download:
    """A file carried by the page as a link."""

    name: str
    label: str
    address: str


def _by_stem(paths: Sequence[Path]) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for path in map(Path, paths):
        found.setdefault(path.stem, []).append(path)
    return found


def data_address(path: Path) -> str:
    """Return a file as a data URI."""
    media = _TYPES.get(path.suffix, "application/octet-stream")
    return f"data:{media};charset=utf-8,{quote(path.read_text(encoding='utf-8'), safe='/,:;()+=|')}"


def _downloads(paths: Sequence[Path]) -> list[Download]:
    kept = [p for p in sorted(paths, key=lambda p: (p.stem, p.suffix)) if p.stat().st_size <= _MOST_CARRIED]
    formats = {".csv": "CSV", ".md": "Markdown", ".tex": "LaTeX"}
    same = len({p.stem for p in kept}) == 1
    return [Download(p.name, formats.get(p.suffix, p.name) if same else p.name, data_address(p)) for p in kept]


def inline_svg(path: Path, name: str, title: str) -> Picture:
    """Return a figure's SVG fit to stand in a page beside others.

    Its ids are made its own, links and namespaces are dropped, and the house colours become the page's, so that it
    follows light and dark.
    """
    text = path.read_text(encoding="utf-8")
    root = ElementTree.fromstring(text)
    description = root.findtext(".//{http://purl.org/dc/elements/1.1/}description") or title
    body = text[text.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r'\sxmlns(?::\w+)?="[^"]*"', "", body)
    prefix = re.sub(r"[^A-Za-z0-9_-]", "-", name)
    body = _needed_ids(body, prefix)
    body = re.sub(r'(?:xlink:)?href="#', f'href="#{prefix}-', body).replace("xlink:href", "href")
    body = body.replace("url(#", f"url(#{prefix}-")
    for colour, variable in THEMED.items():
        body = re.sub(f"(fill|stroke): {colour}", rf"\1: var({variable}, {colour})", body)
    width, height = (float(v) for v in root.get("viewBox").split()[2:])
    size = f'viewBox="0 0 {width:g} {height:g}" style="--natural: {width * 4 / 3:.0f}px"'
    body = re.sub(r"<svg[^>]*>", f'<svg {size} role="img" aria-labelledby="{prefix}-alt">', body, count=1)
    return Picture(name, title, body, description, wide=width > 560)


def _needed_ids(body: str, prefix: str) -> str:
    """Return SVG text that keeps, prefixed, only ids something refers to, each once: matplotlib repeats some."""
    needed = set(re.findall(r'href="#([^"]+)"', body)) | set(re.findall(r"url\(#([^)]+)\)", body))

    def keep(found: re.Match[str]) -> str:
        if found[1] not in needed:
            return ""
        needed.discard(found[1])
        return f' id="{prefix}-{found[1]}"'

    return re.sub(r'\sid="([^"]*)"', keep, body)


def _picture(paths: Sequence[Path], name: str, title: str) -> Picture | None:
    svg = next((p for p in paths if p.suffix == ".svg"), None)
    if svg is not None:
        return inline_svg(svg, name, title)
    png = next((p for p in paths if p.suffix == ".png"), None)
    if png is None:
        return None
    data = base64.b64encode(png.read_bytes()).decode("ascii")
    # The name is the study's own key, checked to be fit for a path; the page escapes the rest.
    return Picture(name, title, f'<img src="data:image/png;base64,{data}" alt="">', title, wide=True)


def _plots(drawn: Mapping[str, Sequence[Path]], study: Study) -> dict[str, Any]:
    """Return the plots of a study's figures, by name, without those that are pictures only or very large."""
    found = {}
    for stem in study.figures:
        for path in drawn.get(stem, []):
            if path.suffix == ".json" and path.stat().st_size <= _MOST_PLOTTED:
                plot = json.loads(path.read_text(encoding="utf-8"))
                found |= {stem: plot} if plot else {}
    return found


def packed_plotly() -> str:
    """Return plotly's script as its package brings it, gzipped and in base64.

    Raises
    ------
    InputError
        If plotly is not installed.
    """
    spec = importlib.util.find_spec("plotly")
    folders = [Path(folder) for folder in spec.submodule_search_locations or []] if spec else []
    found = [path for folder in folders if (path := folder / "package_data" / "plotly.min.js").is_file()]
    if not found:
        raise InputError(
            "the page's plots need plotly, which is not installed; install what envs/requirements.lock has."
        )
    return base64.b64encode(gzip.compress(found[0].read_bytes(), mtime=0)).decode("ascii")


def _thumbnails(browsed: Sequence[Browsed], mapped: Mapping[str, np.ndarray], pictures: Pictures) -> dict[str, Sheets]:
    """Return thumbnails of all items that the page can show, by split."""
    wanted = dict(mapped)
    for one in browsed:
        for reference, rows in ((one.queries, one.query_rows), (one.gallery, one.gallery_rows)):
            if one.pictured:
                wanted[reference] = np.union1d(wanted.get(reference, np.empty(0, np.int64)), rows)
    return make_sheets(pictures, wanted)


def render_page(
    *,
    study: Study,
    original: Study,
    settings: Settings,
    sources: Mapping[str, str],
    metrics: Path,
    comparison: Path,
    tables: Sequence[Path],
    figures: Sequence[Path],
    records: Sequence[Path],
    output: Path,
    timings: Path | None = None,
    significance: Path | None = None,
    agreement: Path | None = None,
    summary: Path | None = None,
    verdict: Path | None = None,
    command: str = "",
    commit: str = "",
) -> None:
    """Write `report.html`, what was run in a few lines of Markdown, and the verdict for the front page.

    Parameters
    ----------
    study, original
        The study as run, and as its file has it; their differences are told at the top.
    settings
        The run's settings.
    sources
        For each dataset, where its items came from, in plain words.
    metrics, comparison
        `metrics.csv` and `comparison.csv`.
    tables, figures
        Rendered files, told apart by stem (the name in the study) and suffix.
    records
        Artifacts of the run (HDF5 files and training histories): their records tell settings, versions and times.
    output
        Where to; the name of its folder is the study's name if nothing was measured.
    timings
        `timings.csv` of the run, if there is one.
    significance
        `significance.csv`, for the marks in tables.
    agreement
        `agreement.csv`, if rankers were compared with the exact one.
    summary, verdict
        Where to write what was run, and what `front` shows of the study; nowhere if left out.
    command
        The command that makes it again; put together from the settings if left out.
    commit
        The commit of the code, if it is known.
    """
    measures = read_measures(metrics, timings)
    published = read_published(comparison, study)
    comparisons = compared(study, measures, published)
    artifacts = keyed(records)
    found = story.all_records(records)
    name = measures[0].study if measures else Path(output).resolve().parent.name
    steps = story.steps(found)

    tests = Significance.read(significance) if significance else None
    drawn, laid_out = _by_stem(figures), _by_stem(tables)
    pictures = [_picture(drawn.get(stem, []), stem, figure.title) for stem, figure in study.figures.items()]
    grids = [
        (stem, build_table(table, study, measures, published, tests), _downloads(laid_out[stem]))
        for stem, table in study.tables.items()
        if stem in laid_out
    ]
    map_panels = shown_maps(study, artifacts)
    maps = explorer_json(map_panels)
    plots = _plots(drawn, study)
    browsed = browsed_queries(study, artifacts)
    images = Pictures([a.path for a in artifacts if a.step == "images"])
    sheets = _thumbnails(browsed, mapped_rows(map_panels), images)
    environment = template_environment()
    environment.globals.update(
        header_levels=header_levels,
        measured_text=measured_text,
        interval_text=interval_text,
        mark_words=mark_words,
        published_text=published_text,
        table_legend=table_legend,
        metric_label=metric_label,
        lower_is_better=lower_is_better,
        best_by_size=story.best_by_size,
        COSTS=story.COSTS,
        LEVEL=LEVEL,
        MOST_BARS=MOST_BARS,
        signed=lambda metric, value: replace(unit_of(metric), decimals=2).signed(value),
        duration=story.duration,
        number=story.number,
    )
    ids = {reference: f"pictures-{place}" for place, reference in enumerate(sheets)}
    devices = list(dict.fromkeys(s.device for s in steps if s.device))
    methods = story.methods(measures, study, comparisons, tests)
    verdicts: dict[str, list[story.Method]] = {}
    for method in methods:
        verdicts.setdefault(method.retrieval, []).append(method)
    agreed = story.agreements(read_agreement(agreement), measures, study) if agreement else []
    differences = departures.named_differences(study, original)
    chance = story.chance_levels(measures, study, [a for a in artifacts if a.step == "rank"])
    tallied, seconds = story.tally(comparisons), sum(s.seconds or 0 for s in steps)
    html = environment.get_template("report.html.jinja").render(
        name=name,
        study=study,
        settings=settings,
        sources=sources,
        differences=differences,
        stand_ins={n: d.stands_for for n, d in study.datasets.items() if d.stands_for},
        caveat=departures.caveat(study, original, settings, brief=True),
        methods=methods,
        verdicts=verdicts,
        left_out=left_out(measures),
        top_map=max([m.map.ci_high or m.map.value for m in methods] + [m.published or 0 for m in methods], default=100),
        chance=chance,
        tally=tallied,
        comparisons=comparisons,
        grids=grids,
        agreements=agreed,
        agreement_words=story.agreement_words(agreed),
        agreement_files=_downloads([Path(agreement)]) if agreement else [],
        pictures=[p for p in pictures if p],
        live={*map_panels, *plots},
        data_words=list(dict.fromkeys(sources.get(entry, entry) for entry in (*study.datasets, *study.features))),
        classes=class_names(artifacts),
        training=story.training_rows([Path(r) for r in records if Path(r).suffix == ".json"], study),
        steps=steps,
        total_seconds=seconds,
        devices=devices,
        versions=story.joined_versions(found),
        machines=sorted({f"{r.get('system', '')} {r.get('machine', '')}".strip() for r in found if r.get("machine")}),
        files=_downloads([Path(p) for p in (metrics, timings, comparison, significance) if p]),
        study_yaml=yaml.safe_dump(
            study.model_dump(exclude={"quick"}, exclude_defaults=True), sort_keys=False, allow_unicode=True
        ),
        settings_yaml=yaml.safe_dump(story.shown_settings(settings), sort_keys=False, allow_unicode=True),
        command=command or story.command_of(name, settings, study),
        css=(TEMPLATES / "report.css").read_text(encoding="utf-8"),
        flow=flow_svg(
            flow_of(
                steps,
                sources=len(study.datasets) + len(study.features),
                tables=len(grids),
                figures=len([p for p in pictures if p]),
                published=len(comparisons),
            )
        ),
        commit=commit,
        maps=maps,
        browsed=browsed,
        query_data=as_script([one.payload for one in browsed]) if browsed else "",
        picture_data=as_script({ref: {**made.payload, "id": ids[ref]} for ref, made in sheets.items()})
        if sheets
        else "",
        sheet_texts=[(f"{ids[ref]}-{i}", text) for ref, made in sheets.items() for i, text in enumerate(made.texts)],
        thumbnails_left_out=left_out_words(sheets),
        plot_data=as_script(plots) if plots else "",
        plotly_packed=packed_plotly() if plots else "",
        script="\n".join((TEMPLATES / name).read_text(encoding="utf-8") for name in _SCRIPTS),
    )
    write_text(output, html)
    if summary is not None:
        lines = story.run_summary(
            name,
            study,
            scale=settings.scale,
            sources=sources,
            devices=devices,
            versions=story.joined_versions(found),
            caveat=departures.caveat(study, original, settings),
            command=command or story.command_of(name, settings, study),
        )
        write_text(summary, lines)
    if verdict is not None:
        card = card_of(
            name,
            study,
            settings.scale,
            verdicts=verdicts,
            chance=chance,
            tally=tallied,
            devices=devices,
            seconds=seconds,
            differences=len(differences),
        )
        write_text(verdict, card)
