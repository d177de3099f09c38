"""Who may watch: one line a case."""

from __future__ import annotations

import dataclasses
from ipaddress import ip_address

import pytest

from sightglass.viewers import MOST_VIEWERS, Needed, NodeRules, Peer, departure, entitled, refusal

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


def test_the_number_of_viewers_is_bounded() -> None:
    """A renewal has a bound, and so has the set that it renews."""
    crowd = [dataclasses.replace(PEER, node=f"n{number}") for number in range(MOST_VIEWERS + 5)]
    assert len(entitled(crowd, NEEDED)) == MOST_VIEWERS


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
