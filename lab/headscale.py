"""The VPN's control plane on host `control`: its configuration, its start and the few calls the lab needs."""

import http.client
import json
import subprocess
from pathlib import Path
from typing import Any

from lab.paths import LabError
from lab.plan import CONTROL_URL, PROBE_PORT
from lab.wait import until

DEFAULT_PUSH_DELAY_MS = 800  # headscale's own default
# The way in for the controller, and a port on which nothing of Sightglass listens: probes prove there that they work.
# The role sightglass_tailnet_policy adds the rest.
INITIAL_POLICY = {
    "tagOwners": {"tag:gateway": [], "tag:ops": []},
    "grants": [
        {"src": ["tag:ops"], "dst": ["tag:gateway"], "ip": ["tcp:22", "icmp:*"]},
        {"src": ["maintainer@", "member@"], "dst": ["tag:gateway"], "ip": [f"tcp:{PROBE_PORT}", f"udp:{PROBE_PORT}"]},
    ],
}


def config(state: Path, push_delay_ms: int) -> dict[str, Any]:
    """headscale's configuration (JSON is YAML). `state` is the host's own directory."""
    return {
        "server_url": CONTROL_URL,
        "listen_addr": "0.0.0.0:8080",
        "metrics_listen_addr": "127.0.0.1:9090",
        "grpc_listen_addr": "127.0.0.1:50443",
        "noise": {"private_key_path": str(state / "noise.key")},
        "prefixes": {"v4": "100.64.0.0/10", "v6": "fd7a:115c:a1e0::/48", "allocation": "sequential"},
        "database": {"type": "sqlite", "sqlite": {"path": str(state / "db.sqlite")}},
        "derp": {
            "server": {
                "enabled": True,
                "region_id": 999,
                "region_code": "lab",
                "region_name": "lab",
                "stun_listen_addr": "[::]:3478",
                "private_key_path": str(state / "derp.key"),
                "automatically_add_embedded_derp_region": True,
                "verify_clients": True,
                # Without an IPv6 address here every client's first netcheck waits 5 s for one.
                "ipv4": "10.77.0.1",
                "ipv6": "fd77::1",
            },
            "urls": [],
            "paths": [],
            "auto_update_enabled": False,
        },
        "dns": {
            "magic_dns": False,
            "base_domain": "lab.internal",
            "override_local_dns": False,
            "nameservers": {"global": []},
        },
        "policy": {"mode": "database"},
        "unix_socket": str(state / "headscale.sock"),
        "unix_socket_permission": "0700",
        "disable_check_updates": True,
        "logtail": {"enabled": False},
        "taildrop": {"enabled": False},
        "log": {"level": "info"},
        # A registration waits for this ticker; with the default of 500 ms a join took three of them.
        "tuning": {"node_store_batch_timeout": "20ms", "batch_change_delay": f"{push_delay_ms}ms"},
    }


class Headscale:
    """headscale running on `control`. All calls raise LabError when it refuses."""

    def __init__(self, binary: Path, state: Path) -> None:
        self.binary = binary
        self.state = state
        self.api_key = ""

    def start(self, push_delay_ms: int) -> None:
        """Starts the server, waits until it answers, makes an API key."""
        self.state.mkdir(exist_ok=True)
        file = self.state / "config.yaml"
        file.write_text(json.dumps(config(self.state, push_delay_ms), indent=1))
        with (self.state / "headscale.log").open("ab") as log:
            words = ["ip", "netns", "exec", "control", str(self.binary), "-c", str(file), "serve"]
            server = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

        def ready() -> bool:
            if server.poll() is not None:
                raise LabError(f"headscale ended with {server.returncode}: see {self.state / 'headscale.log'}")
            return (self.state / "headscale.sock").exists()

        until(ready, 20, "headscale's socket")
        self.api_key = until(self._new_key, 10, "headscale's first API key")

    def _new_key(self) -> str:
        words = [str(self.binary), "-c", str(self.state / "config.yaml"), "apikeys", "create", "--expiration", "90d"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=20, check=False)
        if done.returncode:
            raise LabError(f"headscale apikeys create: {(done.stderr or done.stdout).strip()[-500:]}")
        return done.stdout.strip().splitlines()[-1]

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """One request to /api/v1; returns the answer's JSON object."""
        host = CONTROL_URL.removeprefix("http://")
        connection = http.client.HTTPConnection(host, timeout=10)
        try:
            headers = {"Authorization": f"Bearer {self.api_key}", "Content-Type": "application/json"}
            connection.request(method, f"/api/v1/{path}", json.dumps(body) if body is not None else None, headers)
            answer = connection.getresponse()
            data = answer.read()
        finally:
            connection.close()
        if answer.status != http.HTTPStatus.OK:
            raise LabError(f"headscale {method} {path}: {answer.status} {data.decode(errors='replace')[:500]}")
        result: dict[str, Any] = json.loads(data or b"{}")
        return result

    def set_policy(self, policy: dict[str, Any]) -> None:
        self.call("PUT", "policy", {"policy": json.dumps(policy, indent=1)})

    def add_user(self, name: str) -> str:
        """Returns the new user's numeric id, as text."""
        return str(self.call("POST", "user", {"name": name})["user"]["id"])

    def join_key(self, *, user_id: str | None = None, tag: str | None = None) -> str:
        """A key with which one node may join: as a user's node, or as a tagged one."""
        body: dict[str, Any] = {"reusable": False, "ephemeral": False, "expiration": "2099-01-01T00:00:00Z"}
        body |= {"user": user_id} if user_id else {"aclTags": [tag]}
        return str(self.call("POST", "preauthkey", body)["preAuthKey"]["key"])
