"""Who may watch: one line a case."""

from __future__ import annotations

import dataclasses
import json
from ipaddress import ip_address

import pytest

from sightglass.causes import DEPARTURES
from sightglass.console.news import NewsError, parse_news
from sightglass.viewers import (
    MOST_GONE,
    MOST_NODES,
    MOST_VIEWERS,
    Needed,
    NodeRules,
    Peer,
    departure,
    entitled,
    refusal,
    remembered,
)

PEER = Peer(
    node="n1",
    name="phone",
    user="ann@example.com",
    user_id=7,
    tagged=False,
    addresses=(ip_address("100.64.0.2"), ip_address("fd7a:115c:a1e0::2")),
    values=({"sites": ["north"], "cameras": ["cam1"]},),
)
NEEDED = Needed("north", ("cam1",))


@pytest.mark.requirement("A5")
@pytest.mark.parametrize(
    ("values", "may"),
    [
        (({"sites": ["north"], "cameras": ["cam1"]},), True),
        (({"sites": ["*"]},), True),
        (({"sites": ["north"], "cameras": ["*"]},), True),
        (({"sites": ["south"]}, {"sites": ["north"]}), True),
        ((), False),
        (({"sites": ["south"]},), False),
        (({"sites": ["north"], "cameras": ["cam2"]},), False),
        (({"cameras": ["*"]},), False),
        (({},), False),
        ((["north"],), False),
        (({"sites": "north"},), False),
        (({"sites": ["north"], "cameras": "cam1"},), False),
        ((None, "*", 1), False),
        (({"sites": ["north"], "privacy": ["redacted"]},), True),
        (({"sites": ["north"], "privacy": ["clear"]},), False),
        (({"sites": ["north"], "privacy": []},), False),
        (({"sites": ["north"], "privacy": "redacted"},), False),
    ],
)
def test_the_capability_covers_this_site_camera_and_privacy_level(values: tuple[object, ...], may: bool) -> None:
    """What is not of the documented shape covers nothing."""
    peer = dataclasses.replace(PEER, values=values)
    assert (refusal(peer, NEEDED) is None) is may


@pytest.mark.requirement("A5")
@pytest.mark.parametrize(
    "change",
    [{"tagged": True}, {"user": ""}, {"addresses": ()}, {"expired": True}],
    ids=["tagged", "nobody", "no address", "expired"],
)
def test_a_viewer_is_a_person_on_a_node(change: dict[str, object]) -> None:
    """The same peer without the change may watch: the control of each case."""
    assert refusal(PEER, NEEDED) is None
    assert refusal(dataclasses.replace(PEER, **change), NEEDED)  # type: ignore[arg-type]


@pytest.mark.requirement("A5")
def test_viewers_named_when_opening_narrow_the_capability() -> None:
    """A name never widens it."""
    assert refusal(PEER, Needed("north", ("cam1",), named=frozenset({"ann@example.com"}))) is None
    assert refusal(PEER, Needed("north", ("cam1",), named=frozenset({"bob@example.com"})))
    stranger = dataclasses.replace(PEER, values=())
    assert refusal(stranger, Needed("north", ("cam1",), named=frozenset({"ann@example.com"})))


def test_all_cameras_of_the_window_must_be_covered() -> None:
    """A window shows all its cameras to each viewer."""
    assert refusal(PEER, Needed("north", ("cam1", "cam2")))


def crowd(users: int, nodes: int) -> list[Peer]:
    """So many entitled nodes of so many users, in the order of tailscaled's answer: none."""
    return [
        dataclasses.replace(PEER, node=f"n{node:02}-{user:02}", user=f"u{user:02}")
        for node in range(nodes)
        for user in range(users)
    ]


def test_the_number_of_viewers_is_bounded() -> None:
    """A renewal has a bound, and so has the set that it renews; and nobody fills it alone."""
    assert len(entitled(crowd(MOST_VIEWERS + 5, 1), NEEDED)) == MOST_VIEWERS
    assert len(entitled(crowd(1, MOST_NODES + 5), NEEDED)) == MOST_NODES


@pytest.mark.requirement("P2")
def test_nobody_loses_a_place_to_others() -> None:
    """Whoever holds a lease keeps it while entitled: another's many devices were once a false reason for a cut."""
    watching = dataclasses.replace(PEER, node="z", user="zoe")
    others = crowd(MOST_VIEWERS, MOST_NODES)
    assert "z" in {viewer.node for viewer in entitled([*others, watching], NEEDED, {"z"})}
    assert "z" not in {viewer.node for viewer in entitled([*others, watching], NEEDED)}, "the control: it is too full"
    assert entitled([dataclasses.replace(watching, values=())], NEEDED, {"z"}) == ()


@pytest.mark.requirement("P2")
def test_the_page_takes_whatever_the_agent_tells_it() -> None:
    """As many viewers as there may be, and as many that were cut, by each of their causes: 33 that left ended a window.

    Who is let in again is not among them.
    """
    viewers = [ip_address(f"fd7a:115c:a1e0::1:{number:x}") for number in range(2 * MOST_VIEWERS)]
    left = {ip_address(f"fd7a:115c:a1e0::2:{number:x}"): "peer-gone" for number in range(2 * MOST_GONE)}
    gone = remembered({**dict.fromkeys(viewers, "node-expired"), **left}, set(viewers))
    assert len(gone) == MOST_GONE
    assert list(gone)[-1] == list(left)[-1], "the newest ones"
    for cause in DEPARTURES:
        said = {
            "seq": 1,
            "state": "open",
            "remaining_s": 1.0,
            "viewers": [str(address) for address in viewers],
            "gone": {str(address): cause for address in gone},
        }
        assert parse_news(json.dumps(said).encode()).gone == dict.fromkeys(gone, cause)
    with pytest.raises(NewsError, match="gone"):
        parse_news(json.dumps({**said, "gone": {str(address): cause for address in left}}).encode())


@pytest.mark.requirement("A5")
def test_a_site_may_demand_more_of_a_device() -> None:
    """A key that ends one day, and a listed device; each is refused without and admitted with it."""
    expiring = Needed("north", ("cam1",), rules=NodeRules(key_must_expire=True))
    assert refusal(PEER, expiring)
    assert refusal(dataclasses.replace(PEER, expires=True), expiring) is None
    listed = Needed("north", ("cam1",), rules=NodeRules(devices=frozenset({"tablet"})))
    assert refusal(PEER, listed)
    assert refusal(dataclasses.replace(PEER, name="tablet"), listed) is None


@pytest.mark.requirement("P2")
def test_why_a_viewer_had_to_go_has_a_name() -> None:
    """Removed from the VPN, expired, or without the capability."""
    assert departure("n1", []) == "peer-gone"
    assert departure("n1", [dataclasses.replace(PEER, expired=True)]) == "node-expired"
    assert departure("n1", [dataclasses.replace(PEER, values=())]) == "capability-gone"
