"""What only torch can tell about a configuration: feature layers, smallest inputs, objectives, distances.

Run as a program, so that the process that plans a run never loads torch; the answers are kept between runs.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

import torch

from trazo.errors import InputError
from trazo.models.factory import build, describe
from trazo.provenance import digest
from trazo.retrieval.distances import distances
from trazo.training.augment import augmenter
from trazo.training.objectives import facts_of


def answer(
    requests: list[dict[str, Any]], written: list[Any], changes: Sequence[dict[str, Any]] = ()
) -> dict[str, Any]:
    """Return the facts of each network and of each stage's objectives (or what is wrong with it); distances by name.

    Facts of networks are those of `describe`, and of what weights they take: `weights`, a digest of the names and
    shapes of each stage's (the classifier left out), and `added`, the stages that weights need not have.

    Parameters
    ----------
    requests
        Mappings with architecture, channels, size and options, of networks with a head also `head`.
    written
        Objectives as stages have them: a name, or a mapping from names to options.
    changes
        Augmentations as stages have them; of each comes back what is wrong with it, nothing if nothing is.
    """
    networks: dict[str, dict[str, Any]] = {}
    learned: list[dict[str, Any]] = []
    for objective in written:
        try:
            learned.append(facts_of(objective))
        except InputError as error:
            learned.append({"error": str(error)})
    # Stages of a model ask alike.
    asked = [json.dumps(request, sort_keys=True) for request in requests]
    for question, request in dict(zip(asked, requests)).items():
        try:
            networks[question] = describe(**request, search=False)
            if networks[question]["features"]:
                networks[question] |= _weights(request)
        except InputError as error:
            networks[question] = {"error": str(error)}
        except Exception as error:
            # An architecture is somebody's own code: whatever goes wrong in it is theirs to read.
            what = f"{type(error).__name__}: {error}"
            options = f" with options {request['options']}" if request["options"] else ""
            networks[question] = {"error": f"{request['architecture']}{options} cannot be built: {what}"}
    return {
        "networks": [networks[q] for q in asked],
        "objectives": learned,
        "distances": distances.names(),
        "changes": [_wrong(each) for each in changes],
    }


def _wrong(augment: dict[str, Any]) -> str:
    try:
        if augment:
            augmenter(augment)
    except InputError as error:
        return str(error)
    return ""


def _weights(request: dict[str, Any]) -> dict[str, Any]:
    with torch.device("meta"):
        network = build(**request, classes=2)
    stages = {name: stage for name, stage in network.stages.items() if name != network.classifier}
    shapes = {
        name: {key: [*value.shape] for key, value in stage.state_dict().items()} for name, stage in stages.items()
    }
    return {"weights": {name: digest(shape) for name, shape in shapes.items() if shape}, "added": network.added}


if __name__ == "__main__":
    json.dump(answer(**json.load(sys.stdin)), sys.stdout)
