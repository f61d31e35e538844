"""What becomes of the rows: a CSV file, a Markdown table (also in the README), and a figure."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from trazo.report.drawing import INK, PALETTE, SOFT, Drawing, house_style, new_canvas, save
from trazo.store import write_text

from tests.benchmarks.harness import Benchmark

BEGIN, END = "<!-- benchmarks: begin -->", "<!-- benchmarks: end -->"
Record = dict[str, str]


def read_records(path: Path) -> list[Record]:
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def merged(old: Sequence[Record], new: Sequence[Record], known: dict[str, Benchmark]) -> list[Record]:
    """Return the records in the order of the benchmarks; those measured now replace all of their benchmark's."""
    measured = {record["benchmark"] for record in new}
    kept = [record for record in old if record["benchmark"] not in measured] + list(new)
    order = list(known)
    return sorted(
        (record for record in kept if record["benchmark"] in order), key=lambda r: order.index(r["benchmark"])
    )


def as_csv(records: Sequence[Record]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(records[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()


def as_markdown(records: Sequence[Record], known: dict[str, Benchmark]) -> str:
    """Return one table for all benchmarks, and the machine they ran on."""
    lines = [
        "| | time | each | × the first | wanted | memory | difference | rounds | |",
        "| --- | ---: | ---: | ---: | --- | ---: | ---: | ---: | --- |",
    ]
    for name, group in groupby(records, key=lambda record: record["benchmark"]):
        lines.append(f"| **{known[name].title}** (`{name}`) | | | | | | | | |")
        for record in group:
            if not record["seconds"]:
                lines.append(f"| {record['contestant']} | – | | | | | | | {record['note']} |")
                continue
            wanted = record["wanted"] and f"{record['wanted']}: {'reached' if record['reached'] == 'yes' else 'missed'}"
            lines.append(
                f"| {record['contestant']} | {record['seconds']} s | {record['milliseconds_each']} ms "
                f"| {record['slower']} | {wanted} | {record['peak_mib']} MiB | {record['difference'] or '–'} "
                f"| {record['rounds']} | {record['note']} |"
            )
    machines = sorted({record["machine"] for record in records})
    lines += ["", f"Measured on {'; '.join(machines)}."]
    busy = [
        f"{name} ({record['others']})"
        for name, (record, *_) in ((n, list(g)) for n, g in groupby(records, key=lambda r: r["benchmark"]))
        if float(record["others"] or 0) > 0.2
    ]
    if busy:
        lines[-1] += f" Other programs kept cores busy (how many) as these began: {', '.join(busy)}."
    return "\n".join(lines) + "\n"


def into(text: str, table: str, *, begin: str = BEGIN, end: str = END) -> str:
    """Return a file's text with the table between its markers, or as it is where it has none."""
    if begin not in text or end not in text:
        return text
    head, _, rest = text.partition(begin)
    return f"{head}{begin}\n\n{table}\n{end}{rest.partition(end)[2]}"


def draw(records: Sequence[Record], known: dict[str, Benchmark], svg: Path, png: Path) -> None:
    """Draw bars of time, a panel a benchmark, on logarithmic axes."""
    groups = [
        (name, [record for record in group if record["seconds"]])
        for name, group in groupby(records, key=lambda record: record["benchmark"])
    ]
    groups = [(name, group) for name, group in groups if group]
    from matplotlib.ticker import NullLocator

    title = "Time each way takes, by benchmark"
    with house_style(svg.stem):
        canvas = new_canvas(8.0, sum(0.75 + 0.27 * len(group) for _, group in groups))
        panels = canvas.subplots(
            len(groups), 1, squeeze=False, height_ratios=[0.75 + 0.27 * len(group) for _, group in groups]
        )
        words = []
        for (name, group), axes in zip(groups, panels[:, 0]):
            times = [float(record["milliseconds_each"]) for record in group]
            colours = [PALETTE[0] if record["contestant"].startswith("trazo") else SOFT for record in group]
            low = 10 ** (math.floor(math.log10(min(times))) - 0.3)
            axes.barh(range(len(group)), [time - low for time in times], left=low, color=colours, height=0.7)
            axes.set_xscale("log")
            axes.set_xlim(low, max(times) * 12)
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
            axes.xaxis.set_minor_locator(NullLocator())
            axes.set_yticks(range(len(group)), [record["contestant"] for record in group])
            axes.invert_yaxis()
            axes.grid(axis="y", visible=False)
            axes.set_title(known[name].title)
            axes.set_xlabel(f"ms per {known[name].unit}")
            for place, (record, time) in enumerate(zip(group, times)):
                ratio = f"  ({record['slower']}×)" if place and record["slower"] else ""
                axes.text(time * 1.08, place, f"{record['milliseconds_each']} ms{ratio}", va="center", color=INK)
            words.append(
                f"{known[name].title}: "
                + ", ".join(f"{record['contestant']} {record['milliseconds_each']} ms" for record in group)
            )
        save(Drawing(canvas, "; ".join(words)), title=title, svg=svg, png=png)


def publish(records: Sequence[Record], known: dict[str, Benchmark], folder: Path, readme: Path) -> None:
    """Write the CSV file, the table and the figure, and lay the table into the README."""
    table = as_markdown(records, known)
    write_text(folder / "benchmarks.csv", as_csv(records))
    write_text(folder / "benchmarks.md", table)
    draw(records, known, folder / "benchmarks.svg", folder / "benchmarks.png")
    if readme.exists():
        text = readme.read_text(encoding="utf-8")
        if into(text, table) != text:
            write_text(readme, into(text, table))
