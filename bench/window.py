"""One trial: a window opened by the agent's own command, watched over the VPN, and closed; the times of both ends."""

from __future__ import annotations

import time

from lab import Lab, wait
from lab.host import Host
from lab.media import capture, finish, first_frame_at, viewer
from lab.paths import CHECKOUT


def install(lab: Lab) -> bool:
    """site.yml, as an operator runs it; prints why when it fails."""
    done = lab.host("ops").run(
        ["ansible-playbook", "ansible/playbooks/site.yml"], timeout=600, check=False, cwd=str(CHECKOUT)
    )
    if done.returncode:
        print(done.stdout[-3000:], done.stderr[-3000:])
    return done.returncode == 0


def one_window(gateway: Host, maintainer: Host, url: str, name: str) -> dict[str, float]:
    """Seconds from `sightglass open` to the first decoded frame, and from `sightglass close` to the last media byte.

    The capture runs for a second after the close, so that a late byte would be seen.
    """
    command = ["sightglass", "open", "--camera", "cam1", "--minutes", "5", "--purpose", "debug", "--reason"]
    with capture(gateway, 8554) as wire, viewer(maintainer, url) as watching:
        try:
            opened = time.time()
            gateway.run([*command, f"bench {name}"], timeout=30)
            answered = time.time()
            first = first_frame_at(watching)
            closed = time.time()
            gateway.run(["sightglass", "close"], timeout=30)
            confirmed = time.time()
            watching.wait(10)
            wait.until(lambda: time.time() > confirmed + 1, 3, "a second after the close")
            seen = finish(wire)
        finally:
            watching.kill()
            wire.kill()
    return {
        "open_s": answered - opened,
        "first_frame_s": first - opened,
        "close_s": confirmed - closed,
        "last_byte_s": seen["last"] - closed,
    }
