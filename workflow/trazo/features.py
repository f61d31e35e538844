"""From a checkpoint and images to features: one vector an item, and the classifier's outputs beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from trazo.device import Blocks, Stopwatch, choose_device, fits_or_says, make_repeatable
from trazo.errors import InputError
from trazo.loading import WORKERS, source_of
from trazo.models.branches import DOMAINS
from trazo.models.checkpoint import load_checkpoint, prepare
from trazo.models.heads import head_choice, head_of
from trazo.progress import bar, log
from trazo.provenance import describe
from trazo.sizes import CODE
from trazo.store import Features, read_images, write_features


def extract_features(
    *,
    images: Path | str,
    checkpoint: Path | str,
    output: Path | str,
    epoch: int,
    layer: str,
    code: str,
    key: dict[str, Any],
    device: str = "auto",
    threads: int = 1,
    batch_size: int = 128,
    domain: str | None = None,
    workers: int = WORKERS,
) -> None:
    """Compute the features of all images with a trained network and write `features.h5`.

    The network computes in float32 whatever it was trained in: rankings compare small differences. What a head makes
    of features is a code: of one that gives bits, they are packed, and metrics call the head their reducer.

    Parameters
    ----------
    images
        `images.h5`, N items.
    checkpoint, epoch
        The trained stage and the epoch whose weights count.
    output
        `features.h5` to write: (N, D) float32 features, or (N, B/8) uint8 packed bits; (N, C) float32 logits if the
        stage trained its classifier.
    layer
        The stage of the network whose output is the feature.
    code, key
        Fingerprint of the code, and what the artifact is about, for its record.
    device, threads, batch_size
        "auto", "cpu" or "cuda"; CPU threads; images a pass, fewer where the device's memory does not suffice.
    domain
        What the images are, "sketch" or "photo"; only a network with branches needs it.
    workers
        Processes that decode the images of a streamed dataset; 0: none.

    Raises
    ------
    InputError
        If the layer is unknown, a feature is not finite, a streamed image cannot be read, or a network with branches is
        not told the domain.
    """
    chosen = choose_device(device)
    make_repeatable(chosen, threads)
    watch = Stopwatch(chosen)
    trained = load_checkpoint(checkpoint)
    with fits_or_says("It does not even hold the network: end other programs that use the device, or use device: cpu."):
        network = trained.network(epoch).to(chosen, memory_format=torch.channels_last).eval()
    data = read_images(images)
    branch = None if domain is None else DOMAINS.index(domain)
    mean_image = None if trained.mean_image is None else trained.mean_image.to(chosen)
    features: list[np.ndarray] = []
    logits: list[np.ndarray] = []
    blocks = torch.arange(len(data)).split(batch_size)
    fitting = Blocks(batch_size, "features, images at a time")

    def embedded(pixels: torch.Tensor) -> tuple[np.ndarray, np.ndarray | None]:
        batch = prepare(
            pixels,
            channels=trained.channels,
            size=trained.size,
            mean_image=mean_image,
            device=chosen,
            normalise=trained.normalise,
        )
        feature, logit = network.embed(batch, layer, branch)
        return feature.cpu().numpy(), logit.float().cpu().numpy() if trained.classifier else None

    opened = source_of(data.pixels, chosen, workers=workers)
    with torch.inference_mode(), opened as source, bar(len(data), "features", "img") as progress:
        for pixels in source.batches(blocks):
            # In parts, where a whole batch does not fit.
            for _, (feature, logit) in fitting.over(len(pixels), lambda part, batch=pixels: embedded(batch[part])):
                features.append(feature)
                if logit is not None:
                    logits.append(logit)
            progress.update(len(pixels))
    values = np.concatenate(features).astype(np.float32, copy=False)
    bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(bad):
        raise InputError(
            f"{len(bad)} of {len(values)} features are not finite, the first of {data.ids[bad[0]]}; the training "
            f"behind {checkpoint} diverged: lower its learning rate."
        )
    coded = trained.head if layer == CODE else None
    head = None if coded is None else head_choice(coded)
    if head is not None:
        key = {**key, "method": head.name}
        values = head_of(coded).packed(values) if head.binary else values
    figures = watch.figures()
    figures["images_per_second"] = round(len(data) / float(figures["seconds"]), 1)
    record = describe(
        "features",
        settings={
            "layer": layer,
            "epoch": epoch,
            "architecture": trained.architecture,
            "domain": domain,
            "key": key,
            **({} if head is None else {"head": coded, "bits": head.bits}),
        },
        code=code,
        trained=trained.record.get("settings", {}),
        **figures,
    )
    write_features(
        output,
        Features(
            values=values,
            labels=data.labels,
            ids=data.ids,
            classes=data.classes,
            logits=np.concatenate(logits) if logits else None,
            logit_classes=trained.classes,
            record=record,
            instances=data.instances,
        ),
    )
    width = f"{head.bits} bits" if head is not None and head.binary else f"{values.shape[1]} values"
    log.info("%d features of %s, %.0f images/s", len(values), width, figures["images_per_second"])
