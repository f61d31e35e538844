"""Where a study as run departs from the study as published, in words: for the page's head and below every table.

Pure functions of the study in both forms; what the page says of results is in `story`.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trazo.config import (
    PRETRAINED,
    BranchWeights,
    Dataset,
    Model,
    OtherModel,
    RandomCategories,
    RateSchedule,
    Retrieval,
    Settings,
    Study,
    differences,
    made_by,
)

_MOST_TOLD, _MOST_LISTED = 8, 6
# Sections of a study that only its report depends on.
_SHOWN = ("tables", "figures", "title", "description")


def _listed(value: Any) -> str:
    if isinstance(value, list):
        if len(value) > _MOST_LISTED:
            return f"{len(value)} ({', '.join(map(str, value[:3]))}, …)"
        return ", ".join(str(v) for v in value) or "none"
    return "nothing" if value is None else str(value)


def named_differences(study: Study, original: Study) -> list[str]:
    """Return sentences on where a study as run differs from the study as published, one for all that differ alike."""
    told = _told(study, original)
    shown = [key.split(".")[1] for key, *_ in differences(study, original) if key.startswith(("tables.", "figures."))]
    if shown:
        told.append(f"the report shows other choices in {_joined(dict.fromkeys(shown))}")
    return told


def caveat(
    study: Study, original: Study, settings: Settings, *, brief: bool = False, models: Collection[str] | None = None
) -> str:
    """Return in a sentence or two what sets a run apart from the published set-up, empty if nothing does.

    For standing below a table wherever it is copied to: what concerns only the page (titles, figures) is left out,
    and long lists are cut.

    Parameters
    ----------
    study, original
        The study as run, and as its file has it.
    settings
        The run's settings; the scale is named.
    brief
        For tables of the page, whose head has the list: point there.
    models
        Those spoken of, with the data they see; all if left out.
    """
    whole = study
    if models is not None:
        study, original = (_of_models(form, models) for form in (study, original))
    parts = _told(study, original)
    sentences = []
    if parts:
        scale = "" if settings.scale == "full" else f" (scale: {settings.scale})"
        more = f"; {len(parts) - _MOST_TOLD} more in report.html" if len(parts) > _MOST_TOLD else ""
        told = f"{'; '.join(parts[:_MOST_TOLD])}{more}" if not brief else "the head of this page has the list"
        sentences.append(f"Not the published set-up{scale}: {told}.")
    stand_ins = [f"{n} in place of {d.stands_for}" for n, d in study.datasets.items() if d.stands_for]
    if stand_ins:
        sentences.append(f"Stand-in data: {'; '.join(stand_ins)}.")
    started = starting_weights(study, original, settings, whole, models)
    return " ".join([*sentences, started] if started else sentences)


def _of_models(study: Study, names: Collection[str]) -> Study:
    """Return a study with some of its models, the data they see, and nothing that is made of them."""
    models = {name: model for name, model in study.models.items() if name in _with_starts(study, names)}
    seen = {reference for model in models.values() for stage in model.stages for reference in stage.learned_from}
    for retrieval in study.retrievals:
        seen |= {retrieval.queries, retrieval.gallery} if set(retrieval.models) & set(models) else set()
    used = {reference.partition("/")[0] for reference in seen}
    datasets = {name: dataset for name, dataset in study.datasets.items() if name in used}
    return study.model_copy(update={"models": models, "datasets": datasets, "retrievals": [], "maps": {}})


def _with_starts(study: Study, names: Collection[str]) -> set[str]:
    """Return models with those whose weights they start from, and so on: what these learned from counts, too."""
    found, left = set(), list(names)
    while left:
        name = left.pop()
        if name in study.models and name not in found:
            found.add(name)
            left += [start.model for start in study.models[name].starts.values() if isinstance(start, OtherModel)]
    return found


def starting_weights(
    study: Study, original: Study, settings: Settings, whole: Study, models: Collection[str] | None
) -> str:
    """Return in a sentence where every model starts, empty if no model of the study, in neither form, says it.

    `whole` has the models that these start from, which need not be among them; of `models` alone, if given.
    """
    if not any(model.weights is not None for form in (study, original) for model in form.models.values()):
        return ""
    found: dict[str, list[str]] = {}
    for name, model in study.models.items():
        if models is not None and name not in models:
            continue
        found.setdefault(_start_words(model, whole, settings.sources), []).append(name)
    told = [f"{', '.join(names)}: {words}" for words, names in found.items()]
    return f"Starting weights: {'; '.join(told)}."


def _start_words(model: Model, study: Study, sources: Mapping[str, str]) -> str:
    """Return where a model of a study starts, naming no folder of this machine."""
    if not model.starts:
        return "drawn at random"
    told = {part: _part_words(start, model, study, sources) for part, start in model.starts.items()}
    if isinstance(model.weights, BranchWeights):
        told |= {part: "random weights" for part in BranchWeights.model_fields if part not in told}
    words = ", ".join(f"{part} layers from {words}" if part else words for part, words in told.items())
    return f"{words}, code and classifier drawn at random" if _draws_code(model, study) else words


def _draws_code(model: Model, study: Study) -> bool:
    """Return whether a model has a head, and the weights that its shared layers start from surely have none."""
    start = model.starts.get("", model.starts.get("shared"))
    if model.head is None or start is None:
        return False
    return start == PRETRAINED or (isinstance(start, OtherModel) and study.models[start.model].head is None)


def _part_words(start: str | OtherModel, model: Model, study: Study, sources: Mapping[str, str]) -> str:
    if start == PRETRAINED:
        return f"pretrained weights of {'timm' if model.architecture.startswith('timm:') else 'torchvision'}"
    if isinstance(start, OtherModel):
        stage = study.stage_of(start.model, start.stage)
        return f"stage {stage.name} of {start.model} at epoch {stage.epochs if start.epoch is None else start.epoch}"
    place = os.path.normpath(sources.get(start, start))
    made = made_by(place)
    if made is not None:
        return f"stage {made.stage} of {made.model} (study {made.study}, seed {made.seed})"
    return f"file {Path(place).name}"


def _told(study: Study, original: Study) -> list[str]:
    """Return differences but those in what the report shows: a sentence for all parts that differ in the same way."""
    by_difference: dict[str | _Absence, list[str]] = {}
    for key, before, now in differences(study, original):
        # What stands in for what is a sentence of its own.
        if key.partition(".")[0] not in _SHOWN and not key.endswith(".stands_for"):
            subject, sentence = _sentence(key, before, now, study, original)
            by_difference.setdefault(sentence, []).append(subject)
    # A family of models that was left out is one sentence, in the place of its first member.
    by_subject: dict[str, list[str]] = {}
    for sentence, subjects in by_difference.items():
        names = list(dict.fromkeys(s for s in subjects if s))
        if isinstance(sentence, _Absence):
            by_subject[sentence.words(names)] = []
        else:
            by_subject.setdefault(_joined(names), []).append(sentence)
    return [": ".join(part for part in (head, ", ".join(said)) if part) for head, said in by_subject.items()]


@dataclass(frozen=True)
class _Absence:
    """That parts of a section are in one form of a study only."""

    section: str
    verb: str

    def words(self, names: list[str]) -> str:
        if len(names) == 1:
            return f"{self.section.removesuffix('s')} {names[0]} was {self.verb}"
        told = f"{self.section} {_joined(names)}"
        if len(names) > _MOST_LISTED:
            told = f"{len(names)} {self.section} ({', '.join(names[:3])}, …)"
        return f"{told} were {self.verb}"


def _joined(names: Iterable[str]) -> str:
    *most, last = [*names] or [""]
    return f"{', '.join(most)} and {last}" if most else last


def _sentence(key: str, before: Any, now: Any, study: Study, original: Study) -> tuple[str, str | _Absence]:
    """Return what a difference is about, and what it is, in plain words where the key is a common one."""
    section, _, rest = key.partition(".")
    instead = f"{_listed(now)} instead of {_listed(before)}"
    if section in {"datasets", "models", "retrievals", "maps"}:
        ours, theirs = _named_parts(study, section), _named_parts(original, section)
        name, setting = _split_key(rest, [*ours, *theirs])
        if name not in ours or name not in theirs:
            part = ours.get(name) or theirs[name]
            shown = part.label if isinstance(part, Retrieval) else name
            return shown, _Absence(section, "added" if name in ours else "left out")
        if section == "retrievals":
            return ours[name].label, f"{_words(setting)} {instead}"
        if section == "maps":
            return f"map {name}", f"{_words(setting)} {instead}"
        if section == "datasets":
            return name, _dataset_words(setting, before, now, ours[name], theirs[name])
        if setting.partition(".")[0] == "weights":
            words = [_start_words(part, form, {}) for part, form in ((ours[name], study), (theirs[name], original))]
            return name, f"starting weights {words[0]} instead of {words[1]}"
        return _model_words(name, setting, before, now, ours[name], theirs[name])
    if section == "seeds":
        return "", f"seeds {instead}"
    return section, f"{_words(rest)} {instead}".strip()


def _named_parts(study: Study, section: str) -> dict[str, Any]:
    """Return a section's parts by what `config.differences` calls them."""
    parts = getattr(study, section)
    return parts if isinstance(parts, dict) else {part.name or str(i): part for i, part in enumerate(parts)}


def _split_key(key: str, names: Sequence[str]) -> tuple[str, str]:
    """Return the name that opens a dotted key, and what follows; names may hold dots themselves."""
    name = max((n for n in names if f"{key}.".startswith(f"{n}.")), key=len)
    return name, key[len(name) + 1 :]


def _words(key: str) -> str:
    return key.replace(".", " ").replace("_", " ")


def _dataset_words(setting: str, before: Any, now: Any, ours: Dataset, theirs: Dataset) -> str:
    """Return what a difference in a dataset is."""
    instead = f"{_listed(now)} instead of {_listed(before)}"
    part, _, split = setting.partition(".")
    if part == "split":
        item = "drawings" if ours.layout == "quickdraw" else "images"
        name = {"train": "training"}.get(split, split)
        return f"{_listed(now)} {name} {item} a class instead of {_listed(before)}"
    if part == "size":
        return f"images of {now}×{now} pixels instead of {before}×{before}"
    if part == "categories":
        return f"{_class_words(ours)} instead of {_class_words(theirs)}"
    if part == "source":
        return f"data from {instead}"
    return f"{_words(setting)} {instead}"


def _class_words(dataset: Dataset) -> str:
    if dataset.categories is None:
        return "all classes"
    if isinstance(dataset.categories, RandomCategories):
        return f"{dataset.categories.random} classes drawn at random (seed {dataset.categories.seed})"
    names = _listed(dataset.categories)
    return names.replace(" (", " classes (", 1) if len(dataset.categories) > _MOST_LISTED else f"the classes {names}"


def _model_words(name: str, setting: str, before: Any, now: Any, ours: Model, theirs: Model) -> tuple[str, str]:
    """Return which model or stage a difference is about, and what it is."""
    instead = f"{_listed(now)} instead of {_listed(before)}"
    if setting == "size":
        sides = [f"{side}×{side} pixels" if side else "the images' own size" for side in (now, before)]
        return name, f"inputs of {sides[0]} instead of {sides[1]}"
    if setting.startswith("options."):
        values = [_listed(value) if value is not None else "the default" for value in (now, before)]
        return name, f"option {_words(setting.removeprefix('options.'))} {values[0]} instead of {values[1]}"
    if not setting.startswith("stages."):
        return name, f"{_words(setting)} {instead}"
    stages, before_stages = ({s.name: s for s in model.stages} for model in (ours, theirs))
    stage, inner = _split_key(setting.removeprefix("stages."), [*stages, *before_stages])
    subject = name if len(stages) == len(before_stages) == 1 else f"{name} (stage {stage})"
    if stage not in stages or stage not in before_stages:
        return subject, "added" if stage in stages else "left out"
    if inner == "epochs" and stages[stage].iterations is not None:
        return subject, f"cut into {now} parts instead of {before}"
    if inner == "epochs":
        return subject, f"{now} epoch{'' if now == 1 else 's'} instead of {before}"
    if inner == "iterations" and now and before:
        return subject, f"{now} iterations instead of {before}"
    if inner == "checkpoints":
        kept, kept_before = (len(s[stage].kept_epochs) for s in (stages, before_stages))
        how_many = (
            f"{kept} epochs instead of {kept_before}" if kept != kept_before else f"other epochs ({_listed(now)})"
        )
        return subject, f"weights kept after {how_many.replace('1 epochs', '1 epoch') if kept == 1 else how_many}"
    if inner == "batch_size":
        return subject, f"batches of {now} instead of {before}"
    if inner.partition(".")[0] == "schedule":
        rates = [_rate_words(s[stage].schedule) for s in (stages, before_stages)]
        return subject, f"learning rate {rates[0]} instead of {rates[1]}"
    if not inner.startswith("optimizer."):
        return subject, f"{_words(inner)} {instead}"
    (kind, chosen), (kind_before, chosen_before) = (s[stage].optimizer.chosen for s in (stages, before_stages))
    if kind != kind_before:
        return subject, f"optimizer {kind} (learning rate {chosen.lr}) instead of {kind_before} ({chosen_before.lr})"
    last = inner.rpartition(".")[2]
    return subject, f"{'learning rate' if last == 'lr' else _words(last)} {instead}"


def _rate_words(schedule: RateSchedule | None) -> str:
    if schedule is None:
        return "constant"
    if schedule.step is None:
        return "falling along a cosine"
    every = schedule.step.every
    return f"×{schedule.step.factor:g} every {f'{every} epochs' if every > 1 else 'epoch'}"
