"""HuJSON, as tailnet policies are written: read, and changed in single places so that every comment stays.

JSON with `//` and `/* */` comments and with trailing commas (github.com/tailscale/hujson). What is not touched keeps
its bytes: only the elements of a list that go, and those that come, are edited in the text.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from json.decoder import scanstring  # type: ignore[attr-defined] # typeshed lacks it
from typing import Any

_BLANKS = re.compile(r"[ \t]*")
_SPACE = re.compile(r"[ \t\r\n]*")
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_PLAIN = re.compile(r"true|false|null|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_MAX_DEPTH = 64

Edit = tuple[int, int, str]
"""From where, up to where, and what stands there then."""


class HujsonError(ValueError):
    """What is wrong with the text, with its line."""


@dataclass
class Node:
    """A value, from text[start] up to text[end]; where the comma behind it is; and a list's or an object's parts."""

    value: Any
    start: int
    end: int
    comma: int | None = None
    items: list[Node] = field(default_factory=list)
    members: dict[str, Node] = field(default_factory=dict)


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.comments: list[str] = []

    def wrong(self, at: int, what: str) -> HujsonError:
        return HujsonError(f"line {self.text.count(chr(10), 0, at) + 1}: {what}")

    def skip(self, at: int) -> int:
        """Past white space and comments."""
        while True:
            at = _SPACE.match(self.text, at).end()  # type: ignore[union-attr] # matches nothing, too
            comment = _COMMENT.match(self.text, at)
            if comment is None:
                return at
            self.comments.append(comment[0])
            at = comment.end()

    def value(self, at: int, depth: int = 0) -> Node:
        """The value that begins at text[at]."""
        if depth > _MAX_DEPTH:
            raise self.wrong(at, f"is nested deeper than {_MAX_DEPTH}")
        first = self.text[at : at + 1]
        if first == "[":
            node = Node([], at, at)
            self.parts(node, "]", lambda place: self.item(node, place, depth))
            return node
        if first == "{":
            node = Node({}, at, at)
            self.parts(node, "}", lambda place: self.member(node, place, depth))
            return node
        if first == '"':
            return self.string(at)
        plain = _PLAIN.match(self.text, at)
        if plain is None:
            raise self.wrong(at, f"a value must begin here, not {self.text[at : at + 10]!r}")
        try:
            return Node(json.loads(plain[0]), at, plain.end())
        except ValueError:
            raise self.wrong(at, "is a number of too many digits") from None

    def string(self, at: int) -> Node:
        try:
            value, end = scanstring(self.text, at + 1, True)
        except json.JSONDecodeError as error:
            raise self.wrong(at, error.msg) from None
        return Node(value, at, end)

    def parts(self, node: Node, close: str, take: Callable[[int], Node]) -> None:
        at = self.skip(node.start + 1)
        while self.text[at : at + 1] != close:
            part = take(at)
            at = self.skip(part.end)
            if self.text[at : at + 1] == ",":
                part.comma = at
                at = self.skip(at + 1)
            elif self.text[at : at + 1] != close:
                raise self.wrong(at, f"a comma or {close} must stand here, not {self.text[at : at + 10]!r}")
        node.end = at + 1

    def item(self, node: Node, at: int, depth: int) -> Node:
        found = self.value(at, depth + 1)
        node.items.append(found)
        node.value.append(found.value)
        return found

    def member(self, node: Node, at: int, depth: int) -> Node:
        if self.text[at : at + 1] != '"':
            raise self.wrong(at, f"a key in quotes must stand here, not {self.text[at : at + 10]!r}")
        key = self.string(at)
        if key.value in node.members:
            raise self.wrong(at, f"the key {key.value!r} stands twice in one object")
        colon = self.skip(key.end)
        if self.text[colon : colon + 1] != ":":
            raise self.wrong(colon, "a colon must stand here")
        found = self.value(self.skip(colon + 1), depth + 1)
        node.members[key.value] = found
        node.value[key.value] = found.value
        return found


def parse(text: str) -> Node:
    """The text's one value with the places of its parts. HujsonError when it is none."""
    reader = _Reader(text)
    node = reader.value(reader.skip(0))
    rest = reader.skip(node.end)
    if rest != len(text):
        raise reader.wrong(rest, "nothing may follow the value")
    return node


def comments(text: str) -> list[str]:
    """Every comment, in order."""
    reader = _Reader(text)
    reader.skip(reader.value(reader.skip(0)).end)
    return reader.comments


def with_list(text: str, key: str, new: Sequence[Any], ours: Sequence[Any] = ()) -> str:
    """The text of an object whose list under `key` is `new` now: elements that stay keep their bytes.

    A key that is missing is added at the end when there is anything to add. Comments stay where they stand, also those
    at an element that goes.
    """
    root = parse(text)
    if key not in root.members:
        shown = f"{json.dumps(key)}: {_shown(list(new), _indent(text, root) + '  ')}"
        return _edited(text, _placed(text, root, [shown])) if new else text
    listed = root.members[key]
    inner = _indent(text, listed) + "  "
    old_words, new_words = ([json.dumps(value) for value in values] for values in (listed.value, new))
    edits: list[Edit] = []
    gone: set[int] = set()
    for what, first, last, left, right in _steps(old_words, new_words, {json.dumps(value) for value in ours}):
        come = [_shown(value, inner) for value in new[left:right]]
        if what == "insert":
            edits += _placed(text, listed, come, first)
        elif what == "replace":
            item = listed.items[first]
            edits.append((item.start, item.end, _inside(text, item, inner) + f",\n{inner}".join(come)))
            gone.update(range(first + 1, last))
        elif what == "delete":
            gone.update(range(first, last))
    for number in gone:
        item = listed.items[number]
        inside = _inside(text, item, inner)
        # A comment stands in it or before its comma.
        if inside or (item.comma is not None and text[item.end : item.comma].strip()):
            edits.append((item.start, item.end, inside))
            edits += [(item.comma, item.comma + 1, "")] if item.comma is not None else []
        else:
            edits.append(_cut(text, item.start, item.end if item.comma is None else item.comma + 1))
    stay = [item for number, item in enumerate(listed.items) if number not in gone]
    # Plain JSON stays plain JSON: no comma may hang where none has.
    if stay and listed.items[-1].comma is None and stay[-1].comma is not None:
        edits.append((stay[-1].comma, stay[-1].comma + 1, ""))
    return _edited(text, edits)


def _steps(old: list[str], new: list[str], ours: set[str]) -> Iterator[tuple[str, int, int, int, int]]:
    """difflib's steps; of what is not ours, each stays where it is: it is never what goes here and comes there."""
    stay = [[place for place, word in enumerate(words) if word not in ours] for words in (old, new)]
    if [old[place] for place in stay[0]] != [new[place] for place in stay[1]]:
        stay = [[], []]
    at, to = 0, 0
    for first, left in [*zip(*stay, strict=True), (len(old), len(new))]:
        between = difflib.SequenceMatcher(None, old[at:first], new[to:left], False)
        for what, *places in between.get_opcodes():
            yield what, places[0] + at, places[1] + at, places[2] + to, places[3] + to
        at, to = first + 1, left + 1


def _inside(text: str, item: Node, indent: str) -> str:
    """The comments in a value that goes."""
    return "".join(f"{one.rstrip()}\n{indent}" for one in comments(text[item.start : item.end]))


def _edited(text: str, edits: Sequence[Edit]) -> str:
    for start, end, put in sorted(edits, reverse=True):
        text = text[:start] + put + text[end:]
    return text


def _indent(text: str, node: Node) -> str:
    """The white space at the start of the line on which this begins."""
    line = text.rfind("\n", 0, node.start) + 1
    found = _SPACE.match(text, line)
    return found[0] if found and found.end() <= node.start else ""


def _shown(value: Any, indent: str) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False).replace("\n", "\n" + indent)


def _behind(text: str, at: int) -> int:
    """Past the comments on this line: they speak of what stands before them, unless something follows there."""
    end = at
    while comment := _COMMENT.match(text, _BLANKS.match(text, end).end()):  # type: ignore[union-attr]
        end = comment.end()
    return at if _follows(text, end) else end


def _follows(text: str, at: int) -> bool:
    """Whether another part stands on the rest of this line."""
    return text[_BLANKS.match(text, at).end() :][:1] not in ("", "\r", "\n", "]", "}")  # type: ignore[union-attr]


def _placed(text: str, node: Node, come: Sequence[str], place: int | None = None) -> list[Edit]:
    """The edits that put parts into a list or an object, in front of the part number `place`, or at the end."""
    indent = _indent(text, node)
    parts = node.items or list(node.members.values())
    put = "".join(f"\n{indent}  {one}," for one in come)
    if not parts:
        at = node.start + 1 + len(text[node.start + 1 : node.end - 1].rstrip())
        return [(at, node.end - 1, f"{put[:-1]}\n{indent}")]
    last = parts[-1 if place is None else place - 1]
    sign = node.start if place == 0 else last.comma  # the bracket or the comma behind which they come
    if sign is not None:
        at = _behind(text, sign + 1)
        return [(at, at, put + (f"\n{indent} " if _follows(text, at) else ""))]
    at = _behind(text, last.end)
    return [(at, at, "," + put[:-1])] if at == last.end else [(last.end, last.end, ","), (at, at, put[:-1])]


def _cut(text: str, start: int, end: int) -> Edit:
    """The edit that takes this away, with its lines where nothing else stands on them."""
    before, after = start, end
    while before > 0 and text[before - 1] in " \t":
        before -= 1
    while after < len(text) and text[after] in " \t\r":
        after += 1
    if text[before - 1 : before] == "\n" and text[after : after + 1] == "\n":
        return before, after + 1, ""
    return start, end, ""
