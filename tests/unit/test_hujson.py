"""A policy's text is changed in single places: every comment and every other value stays."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.plugins import loaded

hujson: Any = loaded("module_utils/sightglass_hujson.py")

POLICY = """\
// The owner's file.
{
  "groups": {"group:a": ["ann@"]}, /* who */
  "grants": [
    // ops may log in
    {"src": ["tag:ops"], "dst": ["tag:gateway"], "ip": ["tcp:22"]}, // for ever
    // the viewers
    {"src": ["ann@"], "app": {"cap/view": [{}]}},
    {"src": ["bob@"], "app": {"cap/view": [{}]}}, // bob, too

    /* the nas */
    {"src": ["*"], "dst": ["tag:nas"], "ip": ["*"]}, // a comma hangs
  ],
  "acls": [] // nothing, "quoted // here"
}
// the end
"""

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
gaps = st.sampled_from(["", " ", "\n", "\n    ", ' // it\'s, [a] "note"\n', "/* , ] */", "\n  /* two\nlines */\n"])


@st.composite
def texts(draw: st.DrawFn) -> tuple[str, list[Any]]:
    """An object with a list `l`, with comments and white space wherever they may stand."""
    items: list[Any] = draw(st.lists(values, max_size=5))
    parts = [draw(gaps) + json.dumps(item) + draw(gaps) for item in items]
    hangs: bool = draw(st.booleans())
    hanging = "," + draw(gaps) if items and hangs else ""
    listed = f"[{draw(gaps) if not items else ''}{','.join(parts)}{hanging}]"
    before = draw(st.sampled_from(["", '"a": {"l": [1]},', '"b": 1, ']))
    after = draw(st.sampled_from(["", ",", ', "c": [2]', ', "c": [2],']))
    return (
        f'{draw(gaps)}{{{draw(gaps)}{before}{draw(gaps)}"l":{draw(gaps)}{listed}{after}{draw(gaps)}}}{draw(gaps)}',
        items,
    )


@pytest.mark.requirement("A5")
@given(texts(), st.data())
def test_an_edit_changes_the_list_and_nothing_else(given_text: tuple[str, list[Any]], data: st.DataObject) -> None:
    """Whatever goes and comes: the values are those asked for, the comments all stay in order, plain stays plain."""
    text, items = given_text
    new = [item for item in items if data.draw(st.booleans())]
    for value in data.draw(st.lists(values, max_size=3)):
        new.insert(data.draw(st.integers(0, len(new))), value)
    edited = hujson.with_list(text, "l", new)
    before, after = hujson.parse(text).value, hujson.parse(edited).value
    assert json.dumps(after) == json.dumps(before | {"l": new})
    assert hujson.comments(edited) == hujson.comments(text)
    assert hujson.with_list(edited, "l", new) == edited
    with contextlib.suppress(json.JSONDecodeError):
        json.loads(text)
        assert plain(edited)


# ours, theirs with remarks, ours again: what is theirs stays where it is, whichever of ours go.
MIXED = """\
{"l": [
  {"m": 1},
  // ops may log in
  {"o": 12345678901234567890.5}, // for ever
  {"m": 2}, // m2
  { "m": 3, // a laptop only
    "n": 4 },
]}
"""


@pytest.mark.requirement("A5")
@pytest.mark.parametrize("left", [[], [1], [2], [2, 3], [3, 2], [1, 2, 3], [9, 2]])
def test_an_owners_element_is_not_moved_for_one_of_ours(left: list[int]) -> None:
    """Its bytes and the remarks beside it stay together; a remark in what goes stays, too."""
    mine = [{"m": 1}, {"m": 2}, {"m": 3, "n": 4}, {"m": 9}]
    theirs = hujson.parse(MIXED).value["l"][1]
    want = [one for number in left for one in mine if one["m"] == number]
    edited = hujson.with_list(MIXED, "l", [*want, theirs], mine)
    assert hujson.parse(edited).value["l"] == [*want, theirs]
    assert hujson.comments(edited) == hujson.comments(MIXED)
    assert '  // ops may log in\n  {"o": 12345678901234567890.5}, // for ever\n' in edited


def plain(text: str) -> bool:
    """Whether this is JSON."""
    try:
        json.loads(text)
    except json.JSONDecodeError:
        return False
    return True


@pytest.mark.requirement("A5")
@given(texts(), st.lists(values, min_size=1, max_size=3))
def test_a_list_that_is_missing_is_added(given_text: tuple[str, list[Any]], come: list[Any]) -> None:
    """Behind all other keys; without anything to add the text stays as it is."""
    text, _ = given_text
    edited = hujson.with_list(text, "new", come)
    assert hujson.parse(edited).value == hujson.parse(text).value | {"new": come}
    assert hujson.comments(edited) == hujson.comments(text)
    assert hujson.with_list(text, "new", []) == text


def test_an_owners_file_reads_as_before() -> None:
    """What a person sees in the diff is what has changed."""
    rules = hujson.parse(POLICY).value["grants"]
    cat = {"src": ["cat@"]}
    shown = '{\n      "src": [\n        "cat@"\n      ]\n    }'
    ann = '{"src": ["ann@"], "app": {"cap/view": [{}]}}'
    bob = '    {"src": ["bob@"], "app": {"cap/view": [{}]}},'
    # In place of two: the comment of one that went stays.
    edited = hujson.with_list(POLICY, "grants", [rules[0], cat, rules[3]])
    assert edited == POLICY.replace(ann, shown).replace(bob, "    ")
    # In between: not between a comment and its rule.
    edited = hujson.with_list(POLICY, "grants", [*rules[:3], cat, rules[3]])
    assert edited == POLICY.replace("// bob, too\n", f"// bob, too\n    {shown},\n")
    # At the end, and at the end of the whole file.
    edited = hujson.with_list(POLICY, "grants", [*rules, cat])
    assert edited == POLICY.replace("// a comma hangs\n", f"// a comma hangs\n    {shown},\n")
    tests = hujson.with_list(POLICY, "tests", [1])
    assert tests == POLICY.replace(
        '"acls": [] // nothing, "quoted // here"\n',
        '"acls": [], // nothing, "quoted // here"\n  "tests": [\n    1\n  ]\n',
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 1: a value must begin here, not ''"),
        ('{"a": 1}\n\n{', "line 3: nothing may follow the value"),
        ('{"a": 1\n "b": 2}', "line 2: a comma or } must stand here"),
        ('{"a": 1, "a": 2}', "line 1: the key 'a' stands twice in one object"),
        ("{a: 1}", "line 1: a key in quotes must stand here"),
        ('{"a" 1}', "line 1: a colon must stand here"),
        ("[1, /* open", "line 1: a value must begin here, not '/* open'"),
        ("[,]", "line 1: a value must begin here, not ',]'"),
        ('["a\n"]', "line 1: Invalid control character at"),
        ("[" * 100, "is nested deeper than 64"),
        ("[1\u0662]", "line 1: a comma or ] must stand here"),
        (f"[{'9' * 5000}]", "is a number of too many digits"),
        ("[NaN]", "a value must begin here, not 'NaN]'"),
    ],
)
def test_what_is_no_hujson_is_said_with_its_line(text: str, said: str) -> None:
    """The owner finds the place."""
    with pytest.raises(hujson.HujsonError) as refused:
        hujson.parse(text)
    assert said in str(refused.value)
