"""HTML that nobody else's text can break out of: a string is text, and becomes markup by `tag` alone. Pure."""

from __future__ import annotations

from html import escape

from sightglass.printable import plain


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


def text(value: object) -> Html:
    """Anybody's text, as text. Control characters and those that turn the order of others are shown as replaced."""
    return value if isinstance(value, Html) else Html(escape(plain(str(value))))


def join(*inside: object) -> Html:
    """Pieces one after the other; each that is no markup is text."""
    return Html("".join(map(text, inside)))


def tag(name: str, *inside: object, **attributes: object) -> Html:
    """An element. An attribute's name may end in an underscore (`class_`), and has hyphens for others in it."""
    said = "".join(f' {key.rstrip("_").replace("_", "-")}="{text(value)}"' for key, value in attributes.items())
    return Html(f"<{name}{said}>{join(*inside)}</{name}>")


def somebodys(value: object) -> Html:
    """Text from outside within a sentence: letters that run from right to left stay within it."""
    return tag("bdi", value)
