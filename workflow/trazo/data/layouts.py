"""Dataset layouts by name.

The process that plans a run imports this module. Which items go to which split is decided in `trazo.data.splits`;
`trazo.data.images` puts all of it together.
"""

from __future__ import annotations

from pathlib import Path

# Importing a file of layouts registers them; a new file is added here.
from trazo.data import drawing_layouts, image_layouts  # noqa: F401
from trazo.data.items import layouts

__all__ = ["layouts", "source_words"]


def source_words(source: Path) -> str:
    """Return what a source is, naming no folder of this machine."""
    return f"{'folder' if source.is_dir() else 'file'} {source.resolve().name}"
