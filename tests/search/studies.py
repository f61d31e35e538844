"""Finished studies for tests and benchmarks of the search, made by the library's own steps in no time."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from trazo.config import Dataset
from trazo.data.doodles import ANIMALS as ANIMAL_NAMES
from trazo.data.doodles import draw_many
from trazo.data.images import build_images
from trazo.data.quickdraw import write_bin
from trazo.features import extract_features
from trazo.models.checkpoint import Checkpoint, save_checkpoint
from trazo.models.factory import build
from trazo.reducers.codes import reduce_features
from trazo.retrieval.gallery import rank_gallery
from trazo.store import read_images

HOSTILE = 'duck <b>&"'
ANIMALS = {"cat": "cat", "crab": "crab", HOSTILE: "duck"}
CLASSES = list(ANIMALS)
PER_CLASS = {"train": 8, "test": 6}
TOYS = Dataset(source="doodles", categories=CLASSES, split=PER_CLASS, size=32)
REDUCED = {
    "pca+size": {"pca-size4": {"pca": {"size": 4}}, "pca-size2": {"pca": {"size": 2}}},
    "pq": {"pq-size1-bits2": {"pq": {"size": 1, "bits": 2}}},
}


@dataclass(frozen=True)
class Net:
    """A network of the study."""

    name: str
    layer: str = "pool"
    head: dict | None = None
    classifier: bool = True
    width: int = 8

    @property
    def origin(self) -> str:
        return f"{self.name}/seed0/learn/epoch2"

    def train(self, root: Path, seed: int = 0, settings: dict | None = None) -> None:
        """Write a checkpoint of random weights."""
        images = read_images(root / "images" / "toys" / "train.h5")
        pixels = torch.from_numpy(images.pixels)[:, None].float() / 255
        size, options = pixels.shape[-1], {"width": self.width}
        network = build(
            "resnet18", classes=len(images.classes), channels=1, size=size, options=options, seed=seed, head=self.head
        )
        mean = torch.full((1, size, size), 0.9)
        # Batch normalisation sees drawings, so that features of a network that learned nothing differ.
        network.train()
        with torch.no_grad():
            for _ in range(20):
                network(pixels[:64] - mean)
        network.eval()
        settings = settings or {"key": {"model": self.name, "stage": "learn", "seed": 0}}
        save_checkpoint(
            root / "models" / self.name / "seed0" / "learn" / "checkpoint.pt",
            Checkpoint(
                "resnet18", options, 1, size, images.classes, mean, {2: network.state_dict()}, {"settings": settings},
                classifier=self.classifier, head=self.head,
            ),
        )  # fmt: skip

    def extract(self, root: Path, reference: str) -> None:
        """Write the features of a split."""
        dataset, split = reference.split("/")
        extract_features(
            images=root / "images" / f"{reference}.h5",
            checkpoint=root / "models" / self.name / "seed0" / "learn" / "checkpoint.pt",
            output=root / "features" / self.origin / f"{reference}.h5",
            epoch=2,
            layer=self.layer,
            code="c",
            key={"model": self.name, "stage": "learn", "epoch": 2, "seed": 0, "dataset": dataset, "split": split},
            device="cpu",
        )


PLAIN, BITS = Net("plain"), Net("bits", "code", {"dsh": {"bits": 16}}, classifier=False)


def write_ranking(
    root: Path, net: Net, retrieval: str, queries: str, gallery: str, distance: str, *, reducer: str = "none",
    batch: str = "", folds: int = 0, ranker: str = "exact",
) -> None:  # fmt: skip
    """Rank as the workflow does."""
    parts = [f"fold{n}" for n in range(1, folds + 1)] or ["whole"]
    folder = root / "codes" / net.origin / retrieval / batch
    path = root / "rankings" / net.origin / retrieval / reducer / distance / f"{ranker}.h5"
    settings = {
        "queries": queries, "gallery": gallery, "relevant": "class", "leave_one_out": queries == gallery,
        "metrics": ["map", "p@1"], "votes": [], "folds": folds, "top": 4 if folds else 10, "rerank": "none",
    }  # fmt: skip
    rank_gallery(
        queries=root / "features" / net.origin / f"{queries}.h5",
        gallery=root / "features" / net.origin / f"{gallery}.h5",
        ranking=path, metrics=path.with_suffix(".csv"), study="toys", retrieval=retrieval, distance=distance,
        settings=settings if ranker == "exact" else {**settings, "metrics": ["p@1"]}, code="c", device="cpu",
        codes=[folder / f"{part}.h5" for part in parts] if reducer != "none" else [], reducer=reducer, ranker=ranker,
    )  # fmt: skip


def reduce(root: Path, net: Net, retrieval: str, queries: str, gallery: str, folds: int) -> None:
    """Fit the reducers as the workflow does."""
    for (batch, written), fold in itertools.product(REDUCED.items(), range(1, folds + 1) if folds else [0]):
        folder = root / "codes" / net.origin / retrieval / batch
        part = f"fold{fold}" if fold else "whole"
        reduce_features(
            queries=root / "features" / net.origin / f"{queries}.h5",
            gallery=root / "features" / net.origin / f"{gallery}.h5",
            codes=folder / f"{part}.h5", fitted=folder / part, reducers=written, retrieval=retrieval, batch=batch,
            code="c", folds=folds, fold=fold,
        )  # fmt: skip


def make_images(root: Path, dataset: Dataset, animals: dict[str, str]) -> None:
    """Draw animals under the names of classes, as many as the splits take and some more; write the splits' images."""
    count = sum(dataset.split.values()) + 6
    for name, animal in animals.items():
        write_bin(root / "doodles" / "toys" / f"{name}.bin", draw_many(animal, count, seed=5))
    for split in dataset.split:
        build_images(
            source=root / "doodles" / "toys", dataset_name="toys", dataset=dataset, split=split,
            output=root / "images" / "toys" / f"{split}.h5", code="c",
        )  # fmt: skip


def make_study(root: Path) -> Path:
    """Write a finished study; return the folder of its results."""
    make_images(root, TOYS, ANIMALS)
    for net in (PLAIN, BITS):
        net.train(root)
        for split in PER_CLASS:
            net.extract(root, f"toys/{split}")
    test, train = "toys/test", "toys/train"
    for distance in ("euclidean", "cosine"):
        write_ranking(root, PLAIN, "toys-test", test, test, distance)
    write_ranking(root, PLAIN, "toys-test", test, test, "euclidean", ranker="sklearn")
    write_ranking(root, PLAIN, "across", test, train, "cosine")
    write_ranking(root, BITS, "toys-test", test, test, "hamming")
    for retrieval, gallery, folds in (("whole", train, 0), ("folded", test, 3)):
        reduce(root, PLAIN, retrieval, test, gallery, folds)
        for batch, written in REDUCED.items():
            for label in written:
                way = {"reducer": label, "batch": batch, "folds": folds}
                write_ranking(root, PLAIN, retrieval, test, gallery, "euclidean", **way)
    return root


def make_demo(root: Path, per_class: int) -> Path:
    """Write a study of the demo's classes, image size and network, whose weights are random."""
    dataset = Dataset(source="doodles", categories=list(ANIMAL_NAMES), split={"train": 6, "test": per_class}, size=64)
    make_images(root, dataset, {name: name for name in ANIMAL_NAMES})
    net = Net("small", width=16)
    net.train(root)
    net.extract(root, "toys/test")
    write_ranking(root, net, "toys-test", "toys/test", "toys/test", "cosine")
    return root


def strokes_of(animal: str, seed: int = 99) -> list[np.ndarray]:
    """Return the strokes of a drawing that the study does not hold."""
    return draw_many(animal, 1, seed=seed).strokes(0)
