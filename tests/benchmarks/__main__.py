"""`make bench`: run benchmarks, and keep what was found in results/reference/benchmarks."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from tests.benchmarks import full_studies, growth, tables
from tests.benchmarks.harness import as_record, compare, cores, load, machine, taken_by_others

ROOT = Path(__file__).resolve().parents[2]
# Benchmarks with tables of their own.
OWN = {
    "growth": ("How time and memory grow with the data", growth.run),
    "full_studies": ("What training the full studies costs", full_studies.run),
}


def main() -> None:
    known = load()
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    names = [*known, *OWN]
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--small", action="store_true", help="try everything on small arrays; nothing is kept")
    given = parser.parse_args()
    # Read by the libraries' thread pools when a contestant's process starts.
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[name] = str(cores())
    folder = ROOT / "results" / "reference" / "benchmarks"
    for name in given.only:
        if name in OWN:
            title, run = OWN[name]
            print(f"{title} ({name})", flush=True)
            run(folder, ROOT / "README.md", small=given.small)
            continue
        print(f"{known[name].title} ({name})", flush=True)
        others = taken_by_others()
        rows = list(compare(known[name], given.rounds, given.small))
        new = [
            as_record(row) | {"machine": machine(), "others": "" if others is None else f"{others:.1f}"} for row in rows
        ]
        print(tables.as_markdown(new, known))
        if not given.small:
            # After each benchmark: one that is stopped later loses nothing.
            records = tables.merged(tables.read_records(folder / "benchmarks.csv"), new, known)
            tables.publish(records, known, folder, ROOT / "README.md")


if __name__ == "__main__":
    main()
