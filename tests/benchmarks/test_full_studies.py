"""What the full studies cost is counted rightly: images by hand, operations by hand, chains by hand."""

from pathlib import Path

import pytest
import torch
from trazo.config import Settings, Study, read_study

from tests.benchmarks import full_studies
from tests.benchmarks.full_studies import (
    GPU_FLOPS,
    STUDIES,
    Network,
    Rate,
    Training,
    as_markdown,
    as_records,
    forward_flops,
    hours_here,
    hours_on_gpu,
    longest_chain,
    trainings,
)

ROOT = Path(__file__).resolve().parents[2]


def by_key(name: str) -> dict[tuple[str, str], Training]:
    return {training.key: training for training in trainings(name, read_study(name, Settings()))}


def test_images_are_those_of_the_studies() -> None:
    animals = by_key("animals")
    # 20 epochs of 12 classes of 1,000, each followed by a look at 200 a class.
    assert {(t.learned, t.validated) for t in animals.values()} == {(240_000, 48_000)}
    quickdraw = by_key("quickdraw")
    assert quickdraw["sknet", "train"].learned == 90 * 100_000
    assert quickdraw["sknet-b-20000", "train"].learned == 20_000 * 100
    assert quickdraw["sknet-b-7000", "train"].learned == 7_000 * 200
    assert quickdraw["sknet-contrastive", "train"].learned == 20 * 100_000
    # Mined within batches: every image once.
    assert quickdraw["sknet-triplet", "train"].learned == 20 * 100_000
    assert quickdraw["sknet-256", "train"].network.size == 256
    scenes = by_key("scenes")
    assert scenes["resnet50", "train"].learned == 5 * 1_881
    assert scenes["triplet", "train"].learned == 3 * 20 * 1_881
    assert scenes["resnet50-triplet", "train"].learned == 295 * 32
    sbir = by_key("sbir")
    assert sbir["base", "imagenet"].learned == 30 * 1_281_167
    assert sbir["sketches", "sketches"].learned == 20 * 250 * 72
    assert sbir["sbir", "classes"].learned == 20 * 3 * 250 * 72
    assert sbir["sbir", "instances"].learned == 10 * 3 * (75_460 - 3_750)
    assert len([model for model, _ in sbir if model.startswith("crs-")]) == 9


def test_a_training_waits_for_those_that_it_starts_from() -> None:
    sbir = by_key("sbir")
    assert set(sbir["sbir", "classes"].after) == {("sketches", "sketches"), ("photos", "photos"), ("base", "imagenet")}
    assert sbir["sbir", "instances"].after == (("sbir", "classes"),)
    assert sbir["crs-64", "codes"].after == (("sbir", "instances"),)
    assert sbir["base", "imagenet"].after == ()
    hours = dict.fromkeys(sbir, 1.0)
    # base, then photos, then both together in two stages, then a code.
    assert longest_chain(list(sbir.values()), hours) == 5
    assert longest_chain(list(sbir.values()), {**hours, ("dsh-512", "codes"): 10.0}) == 14


def test_every_seed_is_a_training_more() -> None:
    study = read_study("animals", Settings())
    three = Study.model_validate({**study.model_dump(), "seeds": [0, 1, 2]})
    assert [t.learned for t in trainings("animals", three)] == [720_000, 720_000]


def test_operations_of_a_small_network_are_those_counted_by_hand() -> None:
    # embedding_net: 5 × 5 to 32 channels, halved, 5 × 5 to 64, halved, three linear layers of 256, 256 and 10.
    network = Network("embedding_net", (), 3, 32)
    images = torch.zeros(1, 3, 32, 32)
    outputs = {}
    built = full_studies._built(network).eval()
    for name, module in built.named_modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            module.register_forward_hook(lambda m, _, out, name=name: outputs.update({name: (m, out)}))
    built(images)
    expected = sum(2 * out[0].numel() * m.weight[0].numel() for m, out in outputs.values())
    assert forward_flops(network) == expected


def test_hours_are_images_by_rate() -> None:
    network = Network("net", (), 1, 64)
    training = Training("animals", "m", "s", network, learned=300, validated=30, after=())
    rate = Rate(flops=1e9, images_per_second=10)
    assert hours_here(training, rate) == pytest.approx((300 / 10 + 30 / 30) / 3600)
    assert hours_on_gpu(training, rate) == pytest.approx((300 * 3e9 + 30 * 1e9) / GPU_FLOPS / 3600)


def test_the_table_has_a_line_a_study() -> None:
    found = [training for name in STUDIES for training in by_key(name).values()]
    rate = Rate(flops=2e9, images_per_second=50)
    table = as_markdown(as_records(found, {t.network: rate for t in found}, torch.device("cpu")))
    assert [name for name in STUDIES if f"| `{name}` |" in table] == list(STUDIES)
    assert "| `animals` | 2 | 0.6 million | 3.1 PFLOP | 171 min |" in table
    assert "| sknet form padded | 1 × 128 × 128 | 2 | 50 | 300 |" in table


def test_the_readme_shows_what_was_measured() -> None:
    file = ROOT / "results" / "reference" / "benchmarks" / "full_studies.csv"
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    between = text.partition(full_studies.BEGIN)[2].partition(full_studies.END)[0].strip()
    if not file.exists():
        assert between == "", "the README shows a table that nobody measured"
        return
    assert between == as_markdown(full_studies.read_records(file)).strip()
