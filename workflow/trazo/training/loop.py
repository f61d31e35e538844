"""The loop that trains one stage: from bytes on the device to weights at the epochs asked for.

It can be killed at any point: the next run goes on from the last finished epoch, to the same weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trazo.config import PRETRAINED, Model, OtherModel, Stage
from trazo.device import Stopwatch, choose_device, choose_precision, fits_or_says, make_repeatable
from trazo.errors import InputError, TrazoError
from trazo.loading import WORKERS, Source, laid_on, source_of
from trazo.models.checkpoint import Checkpoint, load_checkpoint, mean_of, save_checkpoint
from trazo.models.factory import build
from trazo.models.network import StagedNetwork
from trazo.models.weights import Start, Weights, begin_by_part, begin_with, downloaded, read_weights
from trazo.progress import bar, log
from trazo.provenance import describe, digest
from trazo.store import Images, write_history
from trazo.streams import LazyPixels, Pixels, digest_of
from trazo.training.augment import augmenter
from trazo.training.joined import members_of, read_set
from trazo.training.learner import Learner
from trazo.training.objectives import Mixture, mixture
from trazo.training.renewal import averaging_layers, renew_statistics
from trazo.training.resume import load_state, save_state
from trazo.training.sampling import Sampling, Schedule, mixed, samplings
from trazo.training.validation import Validation, sample

# Images a time where their mean is taken: as float64, they take up eight times the bytes of their pixels.
_MEAN_BLOCK = 128


class TrainingError(TrazoError):
    """A training that cannot go on; the state before the failing epoch is kept."""


def train_stage(
    *,
    images: Path | str | Sequence[Path | str],
    output: Path | str,
    history: Path | str,
    model: Model | dict[str, Any],
    stage: str,
    seed: int,
    code: str,
    key: dict[str, Any],
    validation: Path | str | Sequence[Path | str] | None = None,
    previous: Path | str | None = None,
    weights: Sequence[Path | str] = (),
    device: str = "auto",
    threads: int = 1,
    workers: int = WORKERS,
    domains: Sequence[str | None] = (),
    validation_domains: Sequence[str | None] = (),
) -> None:
    """Train one stage of a model and write its checkpoint and history.

    Parameters
    ----------
    images
        `images.h5` to learn from; or two, of sketches and of photos, to learn from both.
    output, history
        The checkpoint and the history to write. `<output>.resume` beside them holds the state of an interrupted
        training; it is used only if settings, data, code and device kind are the same, and deleted at the end.
    model
        The model's settings.
    stage
        Name of the stage to train.
    seed
        Seed of the weights and of every shuffle.
    code, key
        Fingerprint of the code, and what the artifact is about, for its record.
    validation
        As `images`: measured after every epoch, or None. A stage's `train_sample` is measured likewise, after the
        epochs that are kept.
    previous
        Checkpoint of the stage before, whose weights this one starts from; None for the first stage.
    weights
        The files that the first stage starts from, in the order of the model's `starts`: those that are not downloaded.
    device, threads
        "auto", "cpu" or "cuda"; CPU threads.
    workers
        Processes that decode the images of a streamed dataset, for each of them; 0: none. The result does not depend on
        it.
    domains, validation_domains
        Of each of `images` and of `validation` "sketch", "photo" or None (`training.joined.read_set`).

    Raises
    ------
    TrainingError
        If the loss is no longer a number; the message names epoch and step.
    DeviceMemoryError
        If the device's memory does not suffice for a batch, which no smaller one can stand for.
    InputError
        If data and network, or network and weights, do not fit, or a streamed image cannot be read.
    TrazoError
        If pretrained weights cannot be downloaded.
    """
    model = model if isinstance(model, Model) else Model.model_validate(model)
    settings = next(s for s in model.stages if s.name == stage)
    chosen = choose_device(device)
    precision = choose_precision(settings.precision, chosen)
    make_repeatable(chosen, threads)
    watch = Stopwatch(chosen)

    data = read_set(images, domains)
    held_out = read_set(validation, validation_domains) if validation is not None else None
    _need_trainable(data, held_out, settings)
    before = load_checkpoint(previous) if previous is not None else None
    size = model.size or data.pixels.shape[1]
    objective = mixture(settings.objective)
    sources = partial(source_of, device=chosen, workers=workers)
    sampling, measured_on, frozen = _sampled(objective, settings, data, held_out, sources)
    start = _first_checkpoint(model, before, data, size, seed, objective)
    network, begun = _begun(start, model, previous, weights)
    log.info("starting weights: %s", begun.words)

    plain = {"model": model.model_dump(mode="json"), "stage": stage, "seed": seed, "key": key}
    data_digests = [_data_digest(each) for each in (data, held_out) if each is not None]
    fingerprint = digest(
        [
            *(plain, code, chosen.type, str(precision), data_digests),
            *(before.record if before is not None else None, begun.digest),
        ]
    )
    resume = Path(f"{output}.resume")
    reached = load_state(resume, fingerprint)
    if reached is not None and reached["threads"] != threads:
        # Sums are split among threads: with as many as before the interruption, the same bits come out.
        log.info("using %d threads, as before the interruption", reached["threads"])
        torch.set_num_threads(reached["threads"])
    earlier = sum(row.get("seconds", 0.0) for row in reached["history"]) if reached is not None else 0.0
    if before is None and model.mean_image:
        # Of streamed images it takes a pass over all of them: not again after an interruption.
        start = replace(start, mean_image=reached["mean_image"] if reached else _mean_image(data.pixels, size, workers))
    learner = _learner(network, start, model, settings, objective, chosen, precision)
    learner.augmenter = augmenter(settings.augment) if settings.augment else None
    if settings.renew_statistics:
        averaging_layers(network)
    # Unless it is streamed, the whole training set stays on the device as bytes: a fourth of its size as floats.
    source = sources(data.pixels, resident=True)
    labels = torch.from_numpy(np.asarray(data.labels, dtype=np.int64)).to(chosen)
    known = sampling.members.domains
    of_rows = None if known is None else torch.from_numpy(known)
    schedule = Schedule(sampling, settings.epochs, settings.iterations, seed)
    course = Course(learner, schedule, source, labels, measured_on, frozen, of_rows, settings.renew_statistics)
    with closing(course):
        kept, epochs = _train(course, settings, resume, fingerprint, reached)

    figures = watch.figures()
    figures["seconds"] = round(float(figures["seconds"]) + earlier, 3)
    figures["threads"] = torch.get_num_threads()
    trained = [row for row in epochs if row["epoch"] > 0]
    seconds = sum(row["seconds"] for row in trained)
    figures["images_per_second"] = round(sum(row["images"] for row in trained) / seconds, 1) if trained else 0.0
    figures["precision"] = str(precision).removeprefix("torch.")
    figures["starting_weights"] = begun.words
    record = describe("train", settings=plain, code=code, data=data.record, **figures)
    checkpoint = replace(start, weights=kept, record=record)
    save_checkpoint(output, checkpoint)
    write_history(history, record=record, epochs=epochs)
    resume.unlink(missing_ok=True)


def _need_trainable(data: Images, held_out: Images | None, settings: Stage) -> None:
    if len(data) < 2 or len(data.classes) < 2:
        raise InputError(
            f"stage {settings.name}: got {len(data)} images of {len(data.classes)} classes; training needs at least "
            "2 of each."
        )
    if held_out is not None and held_out.classes != data.classes:
        raise InputError(
            f"stage {settings.name}: it learns the classes {data.classes}, and `validate_on` has {held_out.classes}; "
            "give both the same categories in the same order."
        )


def _sampled(
    objective: Mixture, settings: Stage, data: Images, held_out: Images | None, sources: Callable[[Pixels], Source]
) -> tuple[Sampling, Validation | None, Validation | None]:
    """Return what cuts the data into batches and what measures held-out and learned data, or say what they lack."""
    kind, size = samplings.get(objective.sampling), settings.batch_size
    learned = sample(data, settings.train_sample) if settings.train_sample else None
    place = "data"
    try:
        members = members_of(data)
        for name in objective.samplings:
            samplings.get(name).need_able(members)
        sampling = kind(members, size, **objective.sampling_options)
        place = "validate_on"
        validation = None if held_out is None else Validation(objective, held_out, size, sources(held_out.pixels))
        place = "train_sample"
        frozen = None
        if learned is not None:
            frozen = Validation(objective, learned, size, sources(learned.pixels), prefix="frozen")
    except InputError as error:
        raise InputError(f"stage {settings.name}: {place}: {error}") from error
    return sampling, validation, frozen


def _data_digest(data: Images) -> str:
    members = members_of(data)
    known = [None if each is None else each.tolist() for each in (members.domains, members.instances)]
    return digest([digest_of(data.pixels), data.labels.tolist(), data.classes, known])


def _mean_image(pixels: Pixels, size: int, workers: int) -> torch.Tensor:
    if isinstance(pixels, LazyPixels):
        log.info("mean image: reading all %d images", len(pixels))
    with source_of(pixels, torch.device("cpu"), workers=workers) as source:
        return mean_of(source.batches(torch.arange(len(pixels)).split(_MEAN_BLOCK)), size)


def _first_checkpoint(
    model: Model, before: Checkpoint | None, data: Images, size: int, seed: int, objective: Mixture
) -> Checkpoint:
    """Return the untrained checkpoint that a stage fills: all about the network but its weights and own mean image."""
    return Checkpoint(
        architecture=model.architecture,
        options=model.options,
        channels=model.channels,
        size=size,
        classes=data.classes,
        mean_image=None if before is None else before.mean_image,
        classifier=objective.uses_logits,
        normalise=model.normalise,
        shared_from=model.branches.shared_from if model.branches else "",
        head=model.head,
        weights={},
        record={"seed": seed},
    )


def _begun(
    start: Checkpoint, model: Model, previous: Path | str | None, files: Sequence[Path | str]
) -> tuple[StagedNetwork, Start]:
    """Return the network with the weights that the stage starts from, and these in words."""
    seed = start.record["seed"]
    network = build(
        model.architecture,
        classes=len(start.classes),
        channels=model.channels,
        size=start.size,
        options=model.options,
        seed=seed,
        shared_from=start.shared_from or None,
        head=start.head,
    )
    about = {"architecture": model.architecture, "classes": start.classes, "seed": seed}
    if previous is not None:
        return network, begin_with(network, read_weights(previous, named=False), **about)
    given = _given_weights(network, model, files)
    for part, weights in given.items():
        if weights.normalise and weights.normalise != model.normalise:
            log.warning(
                "the weights%s learned from images with `normalise: %s`, this model's have %s",
                f" of {part}" if part else "",
                weights.normalise,
                model.normalise,
            )
    if not given:
        return network, Start(f"drawn from seed {seed}")
    return network, begin_with(network, given[""], **about) if "" in given else begin_by_part(network, given, **about)


def _given_weights(network: StagedNetwork, model: Model, files: Sequence[Path | str]) -> dict[str, Weights]:
    """Return what a model's first stage starts from, by part."""
    asked = sum(start != PRETRAINED for start in model.starts.values())
    if asked != len(files):
        raise InputError(f"weights: {model.weights} asks for {asked} files, and {len(files)} were given.")
    paths, found, read = iter(files), {}, {}
    for part, start in model.starts.items():
        epoch = start.epoch if isinstance(start, OtherModel) else None
        source = (start if start == PRETRAINED else str(next(paths)), epoch)
        # Read or downloaded once for all parts that ask for the same.
        if source not in read:
            read[source] = (
                downloaded(network, model.architecture)
                if start == PRETRAINED
                else read_weights(source[0], epoch=epoch, named=not isinstance(start, OtherModel))
            )
        found[part] = read[source]
    return found


def _learner(
    network: StagedNetwork,
    start: Checkpoint,
    model: Model,
    settings: Stage,
    objective: Mixture,
    device: torch.device,
    precision: torch.dtype,
) -> Learner:
    with fits_or_says("It does not even hold the network: end other programs that use the device, or use device: cpu."):
        network = network.to(device, memory_format=torch.channels_last)
    name, values = settings.optimizer.chosen
    kinds = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}
    return Learner(
        network=network,
        optimizer=kinds[name](network.parameters(), **values.model_dump()),
        objective=objective,
        feature=model.feature,
        channels=model.channels,
        size=start.size,
        mean_image=None if start.mean_image is None else start.mean_image.to(device),
        device=device,
        precision=precision,
        normalise=start.normalise,
    )


@dataclass(frozen=True)
class Course:
    """What one stage goes through: who learns, from what, in which order, and what it is measured on.

    `source` gives the pixels, `labels` are (N,) int64 on the learner's device.
    `validation` is measured after every epoch, `frozen`, a sample of what is learned from, after those that are kept.
    `domains` (N,) are those of `pixels`, where they are known, in the CPU's memory.
    `renewed` batches of an epoch measure batch normalisation anew before it is measured or kept; 0: none.
    """

    learner: Learner
    schedule: Schedule
    source: Source
    labels: torch.Tensor
    validation: Validation | None
    frozen: Validation | None = None
    domains: torch.Tensor | None = None
    renewed: int = 0

    def close(self) -> None:
        """End the processes that decode images."""
        for each in (self, self.validation, self.frozen):
            if each is not None:
                each.source.close()

    def measured(self, *, kept: bool) -> dict[str, float]:
        asked = [self.validation, self.frozen if kept else None]
        return {name: value for each in asked if each for name, value in each.measure(self.learner).items()}


def _train(
    course: Course, settings: Stage, resume: Path, fingerprint: str, state: dict[str, Any] | None
) -> tuple[dict[int, dict[str, torch.Tensor]], list[dict[str, Any]]]:
    """Train all epochs, or those that are left; return the kept weights and the history."""
    network, optimizer = course.learner.network, course.learner.optimizer
    kept: dict[int, dict[str, torch.Tensor]] = {}
    history: list[dict[str, Any]] = []
    if state is not None:
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        kept, history = state["kept"], state["history"]
        log.info("going on after epoch %d of %d", state["epoch"], settings.epochs)
    elif 0 in settings.kept_epochs:
        kept[0] = _weights(network)
        history.append({"epoch": 0, **course.measured(kept=True)})
    first = state["epoch"] + 1 if state is not None else 1
    for epoch in range(first, settings.epochs + 1):
        _set_rate(optimizer, settings, epoch)
        with fits_or_says(_if_too_large(course, settings, epoch)):
            history.append(train_epoch(course, epoch, kept=epoch in settings.kept_epochs))
        log.info("%s", _sentence(history[-1], settings.epochs))
        if epoch in settings.kept_epochs:
            kept[epoch] = _weights(network)
        save_state(
            resume,
            {
                "epoch": epoch,
                "threads": torch.get_num_threads(),
                "network": network.state_dict(),
                "optimizer": optimizer.state_dict(),
                "mean_image": course.learner.mean_image,
                "kept": kept,
                "history": history,
            },
            fingerprint,
        )
    return kept, history


def _if_too_large(course: Course, settings: Stage, epoch: int) -> str:
    """Return what to do where a batch does not fit into the device's memory."""
    size = course.learner.size
    return (
        f"It was in epoch {epoch} of stage {settings.name}, with batch_size {settings.batch_size} and images of "
        f"{size}×{size} pixels; the state after epoch {epoch - 1} is kept. End other programs that use the device and "
        "run again, which goes on from there; or, which starts anew and gives another result, choose a smaller "
        "`batch_size`, or `precision: bfloat16`."
    )


def _set_rate(optimizer: torch.optim.Optimizer, settings: Stage, epoch: int) -> None:
    """Give the optimiser the learning rate of an epoch; a function of the epoch alone, whatever came before."""
    share = settings.schedule.share(epoch, settings.epochs) if settings.schedule else 1.0
    for group in optimizer.param_groups:
        group["lr"] = share * settings.optimizer.chosen[1].lr


def train_epoch(course: Course, epoch: int, *, kept: bool = False) -> dict[str, Any]:
    """Train one part of the schedule; return its row of the history, with the frozen weights' if they are kept."""
    learner, schedule = course.learner, course.schedule
    classifies = learner.objective.uses_logits
    # Whatever draws random numbers inside the network (dropout) depends on seed and epoch alone, so that an epoch
    # is the same after an interruption.
    torch.manual_seed(mixed(schedule.seed, epoch, 1))
    learner.network.train()
    batches = schedule.batches(epoch)
    items = sum(len(rows) for rows in batches)
    of_batches = [None if course.domains is None else course.domains[rows] for rows in batches]
    loss_sum = torch.zeros((), dtype=torch.float64, device=learner.device)
    correct = torch.zeros((), dtype=torch.int64, device=learner.device)
    # Seeded anew for every step, as the torch's own state is for every epoch.
    augment = torch.Generator(learner.device) if learner.augmenter else None
    watch = Stopwatch(learner.device)
    with bar(items, f"epoch {epoch}/{schedule.parts}", "img") as progress:
        taken = zip(laid_on(batches, learner.device), course.source.batches(batches), of_batches)
        for step, (rows, pixels, domains) in enumerate(taken, start=1):
            learner.optimizer.zero_grad(set_to_none=True)
            outcome = learner.outcome(
                pixels,
                course.labels[rows],
                schedule.sampling.groups,
                domains=domains,
                augment=augment and augment.manual_seed(mixed(schedule.seed, epoch, step, 2)),
            )
            outcome.loss.backward()
            learner.optimizer.step()
            loss_sum += outcome.loss.detach().double() * len(rows)
            if classifies:
                correct += outcome.correct
            progress.update(len(rows))
            # Reading the loss waits for the device: now and then is enough to notice trouble and to show it.
            if step % 20 == 0 or step == len(batches):
                _need_number(loss_sum, epoch, step, len(batches))
                shown = {"accuracy": f"{int(correct) / (int(progress.n) or 1):.1%}"} if classifies else {}
                progress.set_postfix(loss=f"{float(outcome.loss.detach()):.3f}", **shown)
    seconds = watch.seconds()
    if course.renewed and (kept or course.validation is not None):
        few = slice(course.renewed)
        renew_statistics(learner, course.source, batches[few], of_batches[few])
    return {
        "epoch": epoch,
        "loss": float(loss_sum) / items,
        **({"accuracy": int(correct) / items} if classifies else {}),
        **course.measured(kept=kept),
        "seconds": round(seconds, 3),
        "images_per_second": round(items / seconds, 1),
        "images": items,
        "steps": len(batches),
        "learning_rate": learner.optimizer.param_groups[0]["lr"],
    }


def _need_number(loss_sum: torch.Tensor, epoch: int, step: int, steps: int) -> None:
    if not torch.isfinite(loss_sum):
        raise TrainingError(
            f"the loss became {float(loss_sum)} in epoch {epoch}, by step {step} of {steps}; the state after epoch "
            f"{epoch - 1} is kept. Lower the learning rate, or use precision: float32, and run again."
        )


def _weights(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().to("cpu", copy=True) for name, value in network.state_dict().items()}


def _sentence(row: dict[str, Any], epochs: int) -> str:
    def measured(prefix: str) -> str:
        accuracy = f", accuracy {row[f'{prefix}accuracy']:.2%}" if f"{prefix}accuracy" in row else ""
        return f"loss {row[f'{prefix}loss']:.4f}{accuracy}"

    held_out = f"; held out: {measured('validation_')}" if "validation_loss" in row else ""
    return f"epoch {row['epoch']}/{epochs}: {measured('')}{held_out} ({row['images_per_second']:.0f} images/s)"
