"""Any architecture of timm, as `timm:<name>`: its network without classifier, then a classifier.

timm is slow to import, so that only building one of its networks does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from trazo.errors import InputError
from trazo.models.network import Foreign, StagedNetwork, libraries, with_head
from trazo.registry import unknown_name

_BACKBONE, _CLASSIFIER = "backbone", "classifier"
# Options of timm.create_model that follow from other keys of a study.
_DECIDED_BY = {
    "num_classes": "the data's classes decide",
    "in_chans": "the model's key `channels` decides",
    "pretrained": "the model's key `weights` decides",
    "pretrained_cfg": "the model's key `weights` decides",
    "pretrained_cfg_overlay": "the model's key `weights` decides",
    "checkpoint_path": "the model's key `weights` decides",
    "cache_dir": "the environment variable HF_HOME decides",
    "features_only": "the network gives one vector an image",
}


@libraries.register("timm")
def timm_network(name: str) -> Callable[..., StagedNetwork]:
    """Return what builds timm's architecture `name` ("resnet50", or "resnet50.a1_in1k" for those weights).

    Raises
    ------
    InputError
        If timm has none of this name.
    """
    import timm

    plain, _, tag = name.partition(".")
    # What is no name of its registry, timm would look for in the network or in folders.
    if plain not in timm.list_models():
        raise InputError(f"timm:{name}: {unknown_name('architecture of timm', name, timm.list_models())}")
    tagged = timm.list_models(f"{plain}.*", include_tags=True) if tag else [name]
    if name not in tagged:
        raise InputError(f"timm:{name}: {unknown_name(f'weights of {plain}', name, tagged)}")

    def build(*, classes: int, channels: int, size: int, embedding: int | None = None, **options: Any) -> StagedNetwork:
        for option in options:
            if option in _DECIDED_BY:
                raise InputError(f"timm:{name}: option {option!r} cannot be given: {_DECIDED_BY[option]}.")
        backbone = _backbone(name, channels, size, options)
        width = _width(backbone, name, channels, size)
        facts = timm.get_pretrained_cfg(name)
        foreign = Foreign(
            title=_title(facts),
            own_name=partial(_own_name, _classifiers(facts)),
            download=partial(_download, name, channels, size, options),
            normalise=_normalisation(facts),
        )
        return with_head(
            {_BACKBONE: backbone}, width, classes=classes, classifier=_CLASSIFIER, embedding=embedding, foreign=foreign
        )

    return build


def _arguments(name: str, channels: int, size: int, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what timm.create_model is given; the size only where the architecture has a fixed one."""
    import timm

    facts = timm.get_pretrained_cfg(name)
    fixed = facts is not None and facts.fixed_input_size and not options.get("dynamic_img_size")
    return {"in_chans": channels, **({"img_size": size} if fixed else {}), **options}


def _backbone(name: str, channels: int, size: int, options: Mapping[str, Any]) -> nn.Module:
    import timm

    arguments = _arguments(name, channels, size, options)
    try:
        try:
            return timm.create_model(name, num_classes=0, **arguments)
        except (NotImplementedError, RuntimeError) as error:
            if "meta" not in str(error):
                raise
            # Some read values while they are built, which tensors on the meta device have none of.
            with torch.device("cpu"):
                return timm.create_model(name, num_classes=0, **arguments)
    except Exception as error:
        # timm's architectures refuse in any way they like.
        shown = f" with options {dict(options)}" if options else ""
        raise InputError(
            f"timm:{name}{shown} cannot be built for inputs of {size}×{size}: {_first_line(error)}."
        ) from error


def _width(backbone: nn.Module, name: str, channels: int, size: int) -> int:
    """Return how many values an image a network gives, computing nothing."""
    import copy

    shapes = copy.deepcopy(backbone).to("meta").eval()
    try:
        output = shapes(torch.empty(1, channels, size, size, device="meta"))
    except RuntimeError as error:
        # Without the words of torch no reader can tell what a network of somebody else's wants.
        raise InputError(f"an input of {size}×{size} is too small for timm:{name}: {_first_line(error)}.") from error
    except Exception as error:
        raise InputError(f"timm:{name} does not take an input of {size}×{size}: {_first_line(error)}.") from error
    if not isinstance(output, torch.Tensor) or output.ndim != 2:
        given = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
        raise InputError(f"timm:{name} gives no vector an image but {given}; leave the option `global_pool` out.")
    return output.shape[1]


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0].rstrip(".") if text else type(error).__name__


def _title(facts: Any) -> str:
    if facts is None or not facts.has_weights:
        return ""
    return f"timm {facts.architecture}{f'.{facts.tag}' if facts.tag else ''}"


def _normalisation(facts: Any) -> str:
    from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

    usual = facts is not None and (facts.mean, facts.std) == (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD)
    return "imagenet" if usual else ""


def _classifiers(facts: Any) -> Sequence[str]:
    named = facts.classifier if facts is not None else None
    return [named] if isinstance(named, str) else list(named or ())


def _own_name(classifiers: Sequence[str], key: str) -> str | None:
    for classifier in classifiers:
        if key.startswith(f"{classifier}."):
            # Of several (one of an image, one of a teacher) the first is the classifier.
            return f"stages.{_CLASSIFIER}{key.removeprefix(classifier)}" if classifier == classifiers[0] else None
    return f"stages.{_BACKBONE}.{key}"


def _download(name: str, channels: int, size: int, options: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    import timm

    return timm.create_model(name, pretrained=True, **_arguments(name, channels, size, options)).state_dict()
