"""Text that comes from outside (names of classes, files and folders), made safe to show on a terminal and on a page."""

from __future__ import annotations

import re

# Control characters but tab and line feed: they move the cursor, rename windows, and are no characters of HTML or XML.
# Marks that turn the direction of writing: what stands on the page is then not what is in the file. Halves of
# characters, which no file can hold.
_UNSHOWN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")


def printable(text: str) -> str:
    """Return text with U+FFFD in place of every character that acts on a reader's screen instead of being seen."""
    return _UNSHOWN.sub("\N{REPLACEMENT CHARACTER}", text)
