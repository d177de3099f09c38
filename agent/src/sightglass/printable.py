"""Text of somebody else's, for a screen or a log."""

from __future__ import annotations


def plain(text: str) -> str:
    """The same without what would write lines of its own or move the cursor."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
