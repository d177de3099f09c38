"""What systemd itself says of our units: what they may, and what is started when."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tests.compliance.gateway import WINDOW, Gateway

ENABLED = {
    "sightglass-nftables.service",
    "sightglass-agent.service",
    "sightglass-agent.socket",
    "sightglass-feed-channel.socket",
    "sightglass-console-channel.socket",
    "sightglass-shutter.socket",
}
FIGURES = {"sightglass-metrics.timer": "enabled", "sightglass-metrics.service": "static"}
"""What a site has that wants figures for a Prometheus."""

GUARDED = {"sightglass-nftables-watch.timer": "enabled", "sightglass-nftables-watch.service": "static"}
"""What a site has whose whole host is guarded."""


def must_have(gateway: Gateway, unit: str, wanted: Mapping[str, str]) -> dict[str, str]:
    """Fails the test when a property of a unit is another; gives all of them."""
    rows = gateway.output(f"systemctl show --all {unit}").splitlines()
    found = dict(row.split("=", 1) for row in rows if "=" in row)
    for name, value in {"LoadState": "loaded", **wanted}.items():
        assert found.get(name) == value, f"{unit}: {name} is {found.get(name)!r}, must be {value!r}"
    return found


@pytest.mark.control("confined")
@pytest.mark.requirement("P1")
@pytest.mark.requirement("N2")
def test_window_units_are_confined(gateway: Gateway) -> None:
    """A window's units have their own users, no writable path, no swap, and go first when memory is short."""
    for name in WINDOW:
        unit = f"{name}.service"
        capabilities = "cap_net_admin" if name == "sightglass-shutter" else ""
        found = must_have(
            gateway,
            unit,
            {
                **dict.fromkeys(("User", "Group"), name),
                **dict.fromkeys(("ReadWritePaths", "StateDirectory", "CacheDirectory", "LogsDirectory"), ""),
                "RuntimeDirectory": "",
                "ProtectSystem": "strict",
                # Of /run its own channel and systemd's ear: tailscaled's socket there dials for everybody.
                "TemporaryFileSystem": "/run:ro",
                "NoNewPrivileges": "yes",
                "OOMScoreAdjust": "1000",
                **dict.fromkeys(("MemorySwapMax", "LimitCORE"), "0"),
                **dict.fromkeys(("CapabilityBoundingSet", "AmbientCapabilities"), capabilities),
                # The shutter works for a millisecond every few seconds, and a cut must not wait for the vision.
                "CPUWeight": "1000" if name == "sightglass-shutter" else "idle",
            },
        )
        paths = {path.partition(":")[0] for path in found["BindPaths"].split()}
        channel = {f"/run/{name}.sock"} if name in ("sightglass-feed", "sightglass-console") else set()
        wanted = channel | (set() if name == "sightglass-mediamtx" else {"/run/systemd/notify"})
        assert paths == wanted, f"{unit}: BindPaths are {sorted(paths)}, must be {sorted(wanted)}"
        most = found["MemoryMax"]
        assert most.isdigit() and 0 < int(most) <= 512 << 20, f"{unit}: MemoryMax is {most}, must be at most 512 MiB"


@pytest.mark.control("enabled")
@pytest.mark.requirement("N3")
def test_nothing_is_enabled_that_must_not_be(gateway: Gateway) -> None:
    """At boot come the gate, the agent, its sockets, figures where wanted; nothing of a window, or else of ours."""
    rows = gateway.output("systemctl list-unit-files --no-legend --no-pager 'sightglass*'").splitlines()
    found = {fields[0]: fields[1] for fields in map(str.split, rows)}
    wanted = {**dict.fromkeys(ENABLED, "enabled")}
    wanted |= {f"{unit}.service": "static" for unit in (*WINDOW, "sightglass-off")}
    for pair in (FIGURES, GUARDED):
        wanted |= pair if pair.keys() & found.keys() else {}
    wrong = {unit for unit in {*found, *wanted} if found.get(unit) != wanted.get(unit)}
    assert not wrong, ", ".join(
        f"{unit} is {found.get(unit, 'missing')}, must be {wanted.get(unit, 'absent')}" for unit in sorted(wrong)
    )


@pytest.mark.control("agent")
@pytest.mark.requirement("F3")
def test_agent_is_confined(gateway: Gateway) -> None:
    """The agent has no capability and only its own state to write; what writes its figures has one of each."""
    must_have(
        gateway,
        "sightglass-agent.service",
        {
            "User": "sightglass",
            **dict.fromkeys(("SupplementaryGroups", "CapabilityBoundingSet", "AmbientCapabilities"), ""),
            "ReadWritePaths": "",
            **dict.fromkeys(("StateDirectory", "RuntimeDirectory"), "sightglass"),
            **dict.fromkeys(("StateDirectoryMode", "RuntimeDirectoryMode"), "0700"),
        },
    )
    figures = "sightglass-metrics.service"
    if gateway.output(f"systemctl show -P LoadState {figures}").strip() == "not-found":
        return
    found = must_have(
        gateway,
        figures,
        {
            # Root, hence nothing within its reach that obeys root.
            "CapabilityBoundingSet": "cap_dac_override",
            "AmbientCapabilities": "",
            "ProtectSystem": "strict",
            "TemporaryFileSystem": "/run:ro",
            "RestrictAddressFamilies": "AF_UNIX",
            **dict.fromkeys(("NoNewPrivileges", "PrivateNetwork"), "yes"),
            **dict.fromkeys(("StateDirectory", "RuntimeDirectory", "CacheDirectory", "LogsDirectory"), ""),
        },
    )
    paths = [path.partition(":")[0] for path in found["BindPaths"].split()]
    assert paths == ["/run/sightglass-agent.sock"], f"{figures}: BindPaths are {paths}"
    written = found["ReadWritePaths"].split()
    assert len(written) == 1, f"{figures}: ReadWritePaths are {written}, must be one directory"
