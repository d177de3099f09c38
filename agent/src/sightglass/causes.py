"""Why a window ends, its picture is suspended, or a viewer is cut: each cause has one name, the same in receipt, page,
API and log.

The sentences are for the reader of a record; the page has its own for the person at the camera.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

CAUSES: Mapping[str, str] = MappingProxyType(
    {
        # Somebody said so, or the time was over.
        "closed": "somebody closed it",
        "deadline": "its time was over",
        "disabled": "somebody disabled windows on this gateway",
        "fleet-off": "somebody disabled windows on the whole fleet",
        "switch": "somebody set the switch at the gateway",
        "nobody-joined": "nobody came to watch",
        "last-viewer-gone": "nobody watched any more",
        # It could not be kept to the VPN, or nobody could tell.
        "tailscaled-gone": "the VPN's daemon or interface was gone",
        "vpn-down": "the VPN was down or logged out",
        "vpn-address-changed": "the gateway got another VPN address",
        "not-vpn-only": "the VPN's daemon opened the gateway to others",
        "control-silent": "the VPN's control plane was silent for too long",
        "control-unknown": "nothing was heard of the VPN's control plane",
        "exposure": "something listened, or was configured, that must not be",
        "exposure-unknown": "the listening sockets could not be read",
        # The site comes first.
        "lane": "the lane left safe while the window opened",
        "load": "the site's own work fell behind",
        "load-unknown": "the site's own work could not be measured",
        "not-suspended": "the blank picture was not confirmed in time",
        # A part was lost.
        "agent-lost": "the agent died or hung",
        "agent-stopped": "the agent was stopped",
        "shutter-lost": "the shutter ended or did not answer",
        "server-lost": "the stream server ended",
        "feed-lost": "the feed ended",
        "console-lost": "the page's server ended",
        "host-restarted": "the gateway was restarted or lost its power",
        "not-ready": "no picture could be published",
        "no-room": "there was no room for a receipt",
    }
)
SUSPENSIONS: Mapping[str, str] = MappingProxyType(
    {
        "lane": "the lane was not safe",
        "lane-unknown": "nobody could tell whether the lane was safe",
    }
)
"""Why the picture is blank while the window lives: the codes of the guards in window.SUSPENDING. One that fails while
the window still opens ends it, by the same name in CAUSES."""
DEPARTURES: Mapping[str, str] = MappingProxyType(
    {
        "capability-gone": "the permission was taken away",
        "peer-gone": "the device was removed from the VPN",
        "node-expired": "the device's VPN key expired",
    }
)
"""Why one viewer is cut while the window lives for others."""
