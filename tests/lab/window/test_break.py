"""Break it on the running gateway and see: each break turns the window, or the check, red."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext

import pytest

import demo.matrix
from lab import wait
from tests.lab.window.site_under_test import Site

_LISTEN = """
import socket, sys
listener = socket.create_server((sys.argv[1], int(sys.argv[2])))
print("ready", flush=True)
listener.accept()
"""


@pytest.mark.requirement("A1")
@pytest.mark.requirement("F3")
@pytest.mark.parametrize(
    ("user", "address", "port", "closes"),
    [
        ("sightglass-mediamtx", "0.0.0.0", 9554, True),
        ("nobody", "lan", 8550, True),
        ("nobody", "0.0.0.0", 9554, False),
    ],
    ids=["a window unit on a wildcard", "somebody on our port", "somebody on another port (control)"],
)
def test_a_listener_that_must_not_be_closes_the_window(
    site: Site, user: str, address: str, port: int, closes: bool
) -> None:
    """Within two seconds, by the exposure guard; what is none of our business changes nothing."""
    window = site.open()
    address = str(site.gateway.lan4) if address == "lan" else address
    stranger = site.gateway.popen(["python3", "-c", _LISTEN, address, str(port)], user=user, stdout=-1, text=True)
    try:
        assert stranger.stdout is not None
        assert stranger.stdout.readline().strip() == "ready"
        if closes:
            wait.until(lambda: site.status()["state"] in ("closing", "closed"), 5, "the exposure guard closes")
            assert site.cause(window["id"]) == "exposure"
        else:
            site.wait_frames(20)
            assert site.status()["state"] == "open"
    finally:
        stranger.kill()
        stranger.communicate(timeout=5)


@pytest.fixture
def flushed(site: Site) -> Iterator[Site]:
    """A site whose test flushes the rules; whatever became of the test, the next one finds our table."""
    yield site
    if site.gateway.run(["nft", "list", "table", "inet", "sightglass"], check=False).returncode:
        site.gateway.run(["nft", "-f", "/etc/sightglass/nftables.nft"])


@pytest.mark.requirement("A1")
@pytest.mark.requirement("F3")
def test_without_our_table_the_window_closes_and_the_next_one_brings_it_back(flushed: Site) -> None:
    """Somebody's `flush ruleset` ends the window. The next one loads the table before it leases; without its file, none
    opens."""
    site = flushed
    window = site.open()
    site.gateway.run(["nft", "flush", "ruleset"])
    try:
        wait.until(lambda: site.status()["state"] == "closed", 10, "closed without the table")
        assert site.cause(window["id"]) == "shutter-lost"
        site.gateway.run(["mv", "/etc/sightglass/nftables.nft", "/etc/sightglass/kept"])
        refused = site.ask_open()
        assert (refused.returncode, "refused (guard-exposure)" in refused.stderr) == (3, True), refused
    finally:
        site.gateway.run(["mv", "/etc/sightglass/kept", "/etc/sightglass/nftables.nft"])
    site.wait_guards()
    assert "sightglass" not in site.gateway.run(["nft", "list", "tables"]).stdout
    site.open()
    assert any(number is not None for number in site.watch(frames=10))
    assert site.left(), "the control: with the table, its leases are seen"


@pytest.mark.requirement("A1")
def test_the_matrix_fails_when_its_control_does(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the responder every control cell is wrong: a probe that finds nothing is not believed."""
    monkeypatch.setattr(demo.matrix, "responder", lambda _gateway: nullcontext())
    cells = demo.matrix.measure(site.lab, site.gateway, "before")
    wrong = [cell for cell in cells if not cell.good]
    assert wrong
    assert {cell.control for cell in wrong} == {True}
    assert {cell.vantage for cell in wrong} == {vantage.name for vantage in demo.matrix.VANTAGES}
