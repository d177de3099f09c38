#!/usr/bin/env python3
"""The gateways of a running lab, as Ansible on its host `ops` reaches them: over the VPN only.

LAB_NAME says which lab (`lab exec ops -- …` sets it).
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

TARGETS = {12: "cp311-x86_64", 13: "cp313-x86_64"}
STATE_ROOT = Path("/var/tmp/sightglass-lab")


def inventory(lab: dict[str, Any]) -> dict[str, Any]:
    """Ansible's dynamic inventory from the lab's own description (lab.json)."""
    state = lab["state"]
    # Everything that ssh keeps lies in the lab's state: a master connection or a host key that outlives a lab would be
    # taken for the next one's, which has the same addresses.
    ssh = [
        *("-o ControlMaster=auto", "-o ControlPersist=60s", f"-o ControlPath={state}/cm/%r@%h"),
        *("-o StrictHostKeyChecking=accept-new", f"-o UserKnownHostsFile={state}/ssh/known_hosts"),
        *("-o ServerAliveInterval=5", "-o ServerAliveCountMax=2"),
    ]
    gateways = {name: host for name, host in lab["hosts"].items() if name.startswith("gw")}
    return {
        "_meta": {
            "hostvars": {
                name: {
                    "ansible_host": host["vpn4"],
                    "lab_wan4": host["wan4"],
                    "lab_lan4": host["lan4"],
                    "lab_target": TARGETS[host["debian"]],
                }
                for name, host in gateways.items()
            }
        },
        "gateways": {
            "hosts": sorted(gateways, key=lambda name: int(name.removeprefix("gw"))),
            "vars": {
                "ansible_user": "admin",
                "ansible_ssh_private_key_file": lab["ssh_key_file"],
                "ansible_ssh_common_args": " ".join(ssh),
                "ansible_ssh_args": "",
                "lab_name": lab["name"],
                "lab_headscale_url": lab["headscale_url"],
                "lab_headscale_api_key_file": lab["api_key_file"],
                "lab_binaries": lab["binaries"],
            },
        },
    }


def main() -> int:
    if sys.argv[1:2] == ["--host"]:
        sys.stdout.write("{}\n")
        return 0
    name = os.environ.get("LAB_NAME", "lab")
    try:
        lab = json.loads((STATE_ROOT / name / "lab.json").read_text())
    except FileNotFoundError:
        sys.stderr.write(f"lab {name!r} is not up (LAB_NAME says which lab)\n")
        return 1
    sys.stdout.write(json.dumps(inventory(lab), indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
