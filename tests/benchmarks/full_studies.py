"""What training the full studies costs: images counted from their files, times by what is measured here.

`make bench ONLY=full_studies` measures how many images a second each network of the studies learns from on this
machine, at the studies' own sizes, and multiplies. Nothing is trained to its end.
"""

from __future__ import annotations

import ast
import csv
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode
from trazo.config import OtherModel, Settings, Stage, Study, read_study
from trazo.device import choose_precision, device_name
from trazo.models.factory import build
from trazo.store import write_text

from tests.benchmarks.harness import cores, machine
from tests.benchmarks.tables import as_csv, into

STUDIES = ("animals", "quickdraw", "sbir", "scenes")
BEGIN, END = "<!-- full studies: begin -->", "<!-- full studies: end -->"
GPU_FLOPS = 20e12
"""What a GPU is taken to keep up, floating-point operations a second; measured nowhere here."""

# Backward takes twice what forward does: gradients of the weights and of the inputs.
_PASSES = 3
_LEAST_SECONDS = 4.0
_BATCH, _LOGITS = 16, 100
# Classes and images of data that are not counted in the studies' files: as their publishers, or the studies, say.
_CLASSES = {"imagenet": 1000, "flickr25k": 250, "sketchy": 125, "scenes": 8}
_IMAGES = {
    "imagenet/train": 1_281_167,
    "imagenet/val": 50_000,
    "sketchy-sketches/train": 75_460 - 125 * 30,
    "sketchy-photos/all": 12_500,
    "scenes/train": 1_881,
    "scenes/test": 807,
}


@dataclass(frozen=True)
class Network:
    """What decides how long a network takes for an image; classes and heads change next to nothing of it."""

    architecture: str
    options: tuple[tuple[str, str], ...]
    channels: int
    size: int

    @property
    def words(self) -> str:
        """The network as a reader knows it."""
        return " ".join([self.architecture, *(f"{key} {ast.literal_eval(value)}" for key, value in self.options)])


@dataclass(frozen=True)
class Training:
    """A stage of a model, as far as its cost goes.

    `learned` and `validated` count images through the network over all epochs; `after` names the trainings of the study
    that it waits for.
    """

    study: str
    model: str
    stage: str
    network: Network
    learned: int
    validated: int
    after: tuple[tuple[str, str], ...]

    @property
    def key(self) -> tuple[str, str]:
        return self.model, self.stage


@dataclass(frozen=True)
class Rate:
    """What a network's image takes: floating-point operations forward, and images a second learned from here."""

    flops: float
    images_per_second: float


# Counting ----------------------------------------------------------------------------------------------------------


def classes_of(study: Study, dataset: str) -> int:
    """Return how many classes a dataset has."""
    spec = study.datasets[dataset].categories
    if isinstance(spec, list):
        return len(spec)
    return spec.random if spec is not None else _CLASSES[dataset.partition("-")[0]]


def images_of(study: Study, reference: str) -> int:
    """Return how many images `<dataset>/<split>` has."""
    dataset, _, split = reference.partition("/")
    count = study.datasets[dataset].split[split]
    return count * classes_of(study, dataset) if isinstance(count, int) else _IMAGES[reference]


def images_learned(study: Study, stage: Stage) -> int:
    """Return how many images go through a network in training, over all epochs: of a triplet three, of a pair two."""
    if stage.iterations is not None:
        return stage.iterations * stage.batch_size
    written = {stage.objective: {}} if isinstance(stage.objective, str) else stage.objective
    triplets = any(
        name in ("dsh", "dtsh") or (name == "triplet" and (options or {}).get("mining", "none") == "none")
        for name, options in written.items()
    )
    first = images_of(study, stage.learned_from[0])
    if triplets:
        return 3 * first * stage.epochs
    if len(stage.learned_from) > 1:
        return 2 * first * stage.epochs
    return first * stage.epochs


def trainings(name: str, study: Study) -> list[Training]:
    """Return all trainings of a study, once for each seed."""
    found = []
    for model_name, model in study.models.items():
        for position, stage in enumerate(model.stages):
            dataset = stage.learned_from[0].partition("/")[0]
            if position:
                after = [(model_name, model.stages[position - 1].name)]
            else:
                starts = [start for start in model.starts.values() if isinstance(start, OtherModel)]
                after = [(start.model, study.stage_of(start.model, start.stage).name) for start in starts]
            network = Network(
                model.architecture,
                tuple((key, repr(value)) for key, value in sorted(model.options.items())),
                model.channels,
                model.size or study.datasets[dataset].size,
            )
            validated = sum(images_of(study, reference) for reference in stage.validated_on) * stage.epochs
            found.append(
                Training(
                    name,
                    model_name,
                    stage.name,
                    network,
                    images_learned(study, stage) * len(study.seeds),
                    validated * len(study.seeds),
                    tuple(after),
                )
            )
    return found


def longest_chain(found: Sequence[Training], hours: Mapping[tuple[str, str], float]) -> float:
    """Return the hours of the longest row of trainings that wait for each other: what more machines cannot shorten."""
    by_key = {training.key: training for training in found}

    @cache
    def until(key: tuple[str, str]) -> float:
        return hours[key] + max((until(before) for before in by_key[key].after), default=0.0)

    return max((until(training.key) for training in found), default=0.0)


# Measuring ---------------------------------------------------------------------------------------------------------


def _built(network: Network) -> torch.nn.Module:
    options = {key: ast.literal_eval(value) for key, value in network.options}
    return build(network.architecture, classes=_LOGITS, channels=network.channels, size=network.size, options=options)


def forward_flops(network: Network) -> float:
    """Return the floating-point operations of one image forward; a multiplication with its addition counts two."""
    images = torch.empty(1, network.channels, network.size, network.size, device="meta")
    # Building it looks for shapes, which would be counted too.
    built = _built(network).to("meta").eval()
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        built(images)
    return float(counter.get_total_flops())


def images_per_second(network: Network, device: torch.device) -> float:
    """Return how many images a second a network learns from: forward, backward and step on a batch that is ready."""
    chosen = _built(network).to(device, memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(chosen.parameters(), lr=0.01, momentum=0.9)
    precision = choose_precision("auto", device)
    batch = _BATCH if device.type == "cpu" else 8 * _BATCH
    images = torch.rand(batch, network.channels, network.size, network.size, device=device)
    images = images.to(memory_format=torch.channels_last)
    labels = torch.arange(batch, device=device) % _LOGITS

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == torch.bfloat16):
            loss = torch.nn.functional.cross_entropy(chosen(images), labels)
        loss.backward()
        optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()

    step()
    begin, steps = time.perf_counter(), 0
    while steps < 2 or time.perf_counter() - begin < _LEAST_SECONDS:
        step()
        steps += 1
    return steps * batch / (time.perf_counter() - begin)


def rates(networks: Sequence[Network], device: torch.device) -> dict[Network, Rate]:
    """Measure networks one after the other."""
    found = {}
    for network in networks:
        found[network] = Rate(forward_flops(network), images_per_second(network, device))
        rate = found[network]
        kept = _PASSES * rate.flops * rate.images_per_second / 1e9
        print(
            f"  {network.words:<24} {network.size:4} {rate.images_per_second:9.1f} images/s {kept:9.1f} GFLOP/s",
            flush=True,
        )
    return found


def hours_here(training: Training, rate: Rate) -> float:
    """Return the hours of a training by what was measured; an image that is only looked at takes a third."""
    return (training.learned + training.validated / _PASSES) / rate.images_per_second / 3600


def hours_on_gpu(training: Training, rate: Rate) -> float:
    """Return the hours of a training on a GPU that keeps up `GPU_FLOPS`."""
    return (_PASSES * training.learned + training.validated) * rate.flops / GPU_FLOPS / 3600


# What is shown -----------------------------------------------------------------------------------------------------


def as_records(
    found: Sequence[Training], measured: Mapping[Network, Rate], device: torch.device
) -> list[dict[str, str]]:
    """Return a row for each training, and what it was reckoned by."""
    where = machine() if device.type == "cpu" else device_name(device)
    return [
        {
            "study": training.study,
            "model": training.model,
            "stage": training.stage,
            "network": training.network.words,
            "input": f"{training.network.channels} × {training.network.size} × {training.network.size}",
            "after": " ".join("/".join(before) for before in training.after),
            "images_learned": str(training.learned),
            "images_validated": str(training.validated),
            "gflop_forward": f"{measured[training.network].flops / 1e9:.4g}",
            "images_per_second": f"{measured[training.network].images_per_second:.4g}",
            "hours_here": f"{hours_here(training, measured[training.network]):.4g}",
            "hours_on_gpu": f"{hours_on_gpu(training, measured[training.network]):.4g}",
            "machine": where,
        }
        for training in found
    ]


def as_markdown(records: Sequence[dict[str, str]]) -> str:
    """Return the table: a line a study, in all and along its longest chain."""
    lines = [
        "| study | trainings | images through networks | operations | here | on a GPU | longest chain on GPUs |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for study in STUDIES:
        mine = [record for record in records if record["study"] == study]
        if not mine:
            continue
        learned, validated = (
            sum(int(record[f"images_{what}"]) for record in mine) for what in ("learned", "validated")
        )
        operations = sum(
            (_PASSES * int(r["images_learned"]) + int(r["images_validated"])) * float(r["gflop_forward"]) * 1e9
            for r in mine
        )
        here, gpu = (sum(float(record[f"hours_{where}"]) for record in mine) for where in ("here", "on_gpu"))
        chain = _chain(mine)
        lines.append(
            f"| `{study}` | {len(mine)} | {(learned + validated) / 1e6:,.1f} million | {operations / 1e15:,.1f} PFLOP "
            f"| {_hours(here)} | {_hours(gpu)} | {_hours(chain)} |"
        )
    lines += ["", "Images a second, learned from at the studies' own sizes:", ""]
    lines += [
        "| network | input | GFLOP forward | images/s here | GFLOP/s kept |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    lines += sorted({_network_line(record) for record in records})
    lines += ["", f"Here: {'; '.join(sorted({record['machine'] for record in records}))}."]
    return "\n".join(lines) + "\n"


def _network_line(record: dict[str, str]) -> str:
    flops, rate = float(record["gflop_forward"]), float(record["images_per_second"])
    return f"| {record['network']} | {record['input']} | {flops:.3g} | {rate:,.4g} | {_PASSES * flops * rate:,.0f} |"


def _chain(records: Sequence[dict[str, str]]) -> float:
    waits = {(r["model"], r["stage"]): [tuple(before.split("/")) for before in r["after"].split()] for r in records}
    hours = {(r["model"], r["stage"]): float(r["hours_on_gpu"]) for r in records}
    found = [
        Training("", model, stage, Network("", (), 1, 1), 0, 0, tuple(waits[model, stage])) for model, stage in waits
    ]
    return longest_chain(found, hours)


def _hours(value: float) -> str:
    if value >= 48:
        return f"{value / 24:,.0f} days"
    return f"{value:.0f} h" if value >= 3 else f"{60 * value:.0f} min"


def run(folder: Path, readme: Path, *, small: bool = False) -> None:
    """Measure and reckon; keep what was found, unless it is a trial."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cpu":
        torch.set_num_threads(cores())
    found = [t for name in STUDIES for t in trainings(name, read_study(name, Settings()))]
    networks = list(dict.fromkeys(training.network for training in found))
    measured = rates(networks[:1] if small else networks, device)
    records = as_records([t for t in found if t.network in measured], measured, device)
    print(as_markdown(records))
    if not small:
        publish(records, folder, readme)


def publish(records: Sequence[dict[str, str]], folder: Path, readme: Path) -> None:
    """Write the rows, and lay the table into the README."""
    write_text(folder / "full_studies.csv", as_csv(records))
    if readme.exists():
        text = readme.read_text(encoding="utf-8")
        changed = into(text, as_markdown(records), begin=BEGIN, end=END)
        if changed != text:
            write_text(readme, changed)


def read_records(path: Path) -> list[dict[str, str]]:
    """Return the rows that `publish` wrote."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
