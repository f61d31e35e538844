"""Resume files: the state of an interrupted stage, kept beside its output until the stage is finished."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from trazo.models.checkpoint import load_safely, need_sound
from trazo.progress import log
from trazo.store import ArtifactError, atomic_file


def save_state(path: Path, state: dict[str, Any], fingerprint: str) -> None:
    """Write the state reached after an epoch, whole or not at all."""
    with atomic_file(path) as file:
        torch.save({"fingerprint": fingerprint, "state": state}, file)


def load_state(path: Path, fingerprint: str) -> dict[str, Any] | None:
    """Return the state to go on from, or None if there is none that fits; why it does not fit is logged."""
    if not path.exists():
        return None
    try:
        content = load_safely(path, kind="resume file")
        need_sound(path, whole=True)
    except ArtifactError as error:
        log.info("starting over: %s", error)
        return None
    if content.get("fingerprint") != fingerprint:
        log.info("starting over: the interrupted training in %s had other settings, data or code", path)
        return None
    return content["state"]
