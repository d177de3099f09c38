"""tailscaled's local API: what this node is in the VPN, and who its peers are.

Shapes as tailscaled 1.102 answers on `/localapi/v0/{status,prefs,serve-config,whois}`; any uid may read these. Whatever
cannot be read within the deadline raises TailnetError: unknown, never a guess.
"""

from __future__ import annotations

import asyncio
import fcntl
import socket
import struct
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any

import httpx

from sightglass.adapters.mtu import mtu, uplink
from sightglass.facts import NodeHealth, Vpn
from sightglass.viewers import Address, Peer

DEADLINE_S = 1.5
MOST_PEERS = 128
_AT_ONCE = 16
_SIOCGIFADDR = 0x8915


class TailnetError(Exception):
    """tailscaled did not answer, or not in the known form."""


class Tailnet:
    """A client of one tailscaled. `contact` is the boottime at which the control plane was last known to be there."""

    def __init__(self, unix_socket: str, interface: str, capability: str) -> None:
        self._interface = interface
        self._capability = capability
        # trust_env off: an HTTP_PROXY in the environment must not learn who watches.
        self._http = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(uds=unix_socket),
            base_url="http://local-tailscaled.sock/localapi/v0/",
            timeout=DEADLINE_S,
            trust_env=False,
        )
        self._contact: float | None = None
        self._capable: frozenset[str] = frozenset()

    async def close(self) -> None:
        """Give the connections back."""
        await self._http.aclose()

    async def vpn(self, now: float) -> Vpn:
        """This node and its peers with their capabilities, at boottime `now`."""
        try:
            status, prefs, serve = await asyncio.gather(
                self._get("status"), self._get("prefs"), self._get("serve-config")
            )
            return await self._read(status, prefs, serve or {}, now)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise TailnetError(f"{type(error).__name__}: {error}") from error

    async def standing(self) -> NodeHealth:
        """What the doctor asks of this node. Raises TailnetError."""
        try:
            status = await self._get("status")
            me, peers = status.get("Self") or {}, (status.get("Peer") or {}).values()
            active = {str(peer["ID"]): peer for peer in peers if peer.get("Active")}
            text = str(me.get("KeyExpiry") or "0001-")
            return NodeHealth(
                key_expiry=None if text.startswith("0001-") else datetime.fromisoformat(text),
                key_expired=bool(me.get("Expired")),
                health=tuple(str(line) for line in status.get("Health") or ()),
                active=frozenset(active),
                relayed={
                    node: str(peer["Relay"])
                    for node, peer in active.items()
                    if peer.get("Relay") and not peer.get("CurAddr") and not peer.get("PeerRelay")
                },
                mtu=mtu(self._interface),
                uplink=uplink(),
            )
        except (KeyError, TypeError, ValueError, AttributeError, LookupError) as error:
            raise TailnetError(f"{type(error).__name__}: {error}") from error

    def present(self) -> tuple[Address, ...]:
        """The addresses on the VPN interface now, by the kernel's word."""
        return _on_interface(self._interface)

    async def whois(self, address: Address) -> Peer | None:
        """The peer behind a VPN address with its capabilities toward this node, or None when there is none."""
        try:
            return self._peer(await self._get(f"whois?addr={address}"))
        except LookupError:
            return None
        except (TypeError, ValueError, AttributeError) as error:
            raise TailnetError(f"{type(error).__name__}: {error}") from error

    async def _get(self, path: str) -> Any:
        try:
            response = await self._http.get(path)
        except httpx.HTTPError as error:
            raise TailnetError(f"{type(error).__name__}: {error}") from error
        if response.status_code == 404:
            raise LookupError(path)
        if response.status_code != 200:
            raise TailnetError(f"{path.partition('?')[0]}: HTTP {response.status_code}")
        return response.json()

    async def _read(self, status: Any, prefs: Any, serve: Any, now: float) -> Vpn:
        own = tuple(ip_address(text) for text in status.get("TailscaleIPs") or ())
        if (status.get("Self") or {}).get("Online"):
            self._contact = now
        peers, unasked = await self._peers(status)
        return Vpn(
            state=str(status["BackendState"]),
            tun=bool(status.get("TUN")),
            own=own,
            present=self.present(),
            advertised_routes=tuple(str(route) for route in prefs.get("AdvertiseRoutes") or ()),
            exit_node=str(prefs.get("ExitNodeID") or prefs.get("ExitNodeIP") or ""),
            ssh_server=bool(prefs.get("RunSSH")),
            serves=_serves(serve),
            contact_age_s=None if self._contact is None else now - self._contact,
            peers=peers,
            unasked=unasked,
        )

    async def _peers(self, status: Any) -> tuple[tuple[Peer, ...], int]:
        # A tagged peer names no person and is never a viewer: not worth a question.
        persons = [
            peer for peer in (status.get("Peer") or {}).values() if not peer.get("Tags") and peer.get("TailscaleIPs")
        ]
        # Who could watch a moment ago comes first: a device that is new must not make it unknown.
        persons.sort(key=lambda peer: peer.get("ID") not in self._capable)
        few = asyncio.Semaphore(_AT_ONCE)

        async def ask(person: Any) -> Peer | None:
            async with few:
                try:
                    return self._peer(await self._get(f"whois?addr={person['TailscaleIPs'][0]}"))
                except LookupError:
                    return None  # gone between the two questions

        asked = await asyncio.gather(*map(ask, persons[:MOST_PEERS]))
        found = tuple(peer for peer in asked if peer is not None)
        self._capable = frozenset(peer.node for peer in found if peer.values)
        return found, max(0, len(persons) - MOST_PEERS)

    def _peer(self, who: Any) -> Peer:
        node, profile = who["Node"], who["UserProfile"]
        # The top-level CapMap is what the peer may do here; Node.CapMap is something else (the peer's own attributes).
        values = (who.get("CapMap") or {}).get(self._capability) or ()
        return Peer(
            node=str(node["StableID"]),
            name=str(node["Name"]).partition(".")[0],
            user=str(profile["LoginName"]),
            user_id=int(profile["ID"]),
            tagged=bool(node.get("Tags")),
            addresses=tuple(ip_address(text.partition("/")[0]) for text in node.get("Addresses") or ()),
            values=tuple(values),
            expired=bool(node.get("Expired")),
            # Go writes the year 1 for a key that never expires, headscale leaves it out.
            expires=not str(node.get("KeyExpiry") or "0001-").startswith("0001-"),
        )


def _serves(serve: Any) -> tuple[str, ...]:
    """What serve and Funnel publish, a foreground session's included (it is gone from the config with its command)."""
    found: list[str] = []
    for config in (serve, *(serve.get("Foreground") or {}).values()):
        found += [name for name, on in (config.get("AllowFunnel") or {}).items() if on]
        for key in ("TCP", "Web", "Services"):
            found += [str(name) for name in config.get(key) or {}]
    return tuple(found)


def _on_interface(name: str) -> tuple[Address, ...]:
    """The addresses on an interface, from the kernel: tailscaled says what it wants, this is what there is."""
    found: list[Address] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            answer = fcntl.ioctl(probe, _SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
            found.append(IPv4Address(answer[20:24]))
        except OSError:
            pass  # no such interface, or no IPv4 address: nothing is present
    for line in Path("/proc/net/if_inet6").read_text().splitlines() if Path("/proc/net/if_inet6").exists() else ():
        fields = line.split()
        if fields[-1] == name:
            found.append(IPv6Address(int(fields[0], 16)))
    return tuple(found)
