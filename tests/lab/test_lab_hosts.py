"""What a lab's hosts can and cannot do, to each other and to the machine."""

import subprocess
import time
from pathlib import Path

import pytest

from lab import HostError, Lab, LabError

# Connects to address $1, port $2, and wants SSH's greeting.
_GREETING = 'exec 3<>"/dev/tcp/$1/$2" && read -r -n4 -t2 word <&3 && [ "$word" = SSH- ]'


def _ssh_greets(lab: Lab, host: str, address: str | None) -> bool:
    assert address is not None
    words = ["timeout", "3", "bash", "-c", _GREETING, "bash", address, "22"]
    return lab.host(host).run(words, check=False).returncode == 0


def test_exec_hands_on_exit_code_output_and_input(lab: Lab) -> None:
    """A command's exit code, both outputs and its input pass through, on gateways and on namespaces."""
    for name in ("gw1", "ops"):
        done = lab.host(name).run(["sh", "-c", "cat; echo err >&2; exit 7"], input="in", check=False)
        assert (done.returncode, done.stdout, done.stderr) == (7, "in", "err\n")


def test_a_failing_command_is_named(lab: Lab) -> None:
    """The error of a failed command holds the command, its exit code and what it wrote to stderr."""
    with pytest.raises(HostError, match="gw1: sh -c echo no >&2; exit 3 ended with 3: no") as caught:
        lab.host("gw1").run(["sh", "-c", "echo no >&2; exit 3"])
    assert (caught.value.returncode, caught.value.stderr) == (3, "no\n")


def test_an_unknown_host_is_refused(lab: Lab) -> None:
    """A host that the lab does not have is refused in one sentence."""
    with pytest.raises(LabError, match="there is no host 'gw9'"):
        lab.host("gw9")


def test_exec_does_not_set_the_machines_clock(lab: Lab) -> None:
    """Root on a gateway gets EPERM from clock_settime, while the same program may do what needs no such right."""
    # The time it already is: should this ever be let through, the machine loses a millisecond, not a year.
    program = (
        "import time; print('ran'); time.clock_settime(time.CLOCK_REALTIME, time.clock_gettime(time.CLOCK_REALTIME))"
    )
    done = lab.host("gw1").run(["python3", "-c", program], check=False)
    assert done.stdout == "ran\n"
    assert "PermissionError" in done.stderr


def test_exec_as_a_user(lab: Lab) -> None:
    """A command runs with the ids of the user that was asked for."""
    done = lab.host("gw1").run(["sh", "-c", "id -un; id -gn; echo $HOME"], user="admin")
    assert done.stdout.split() == ["admin", "admin", "/home/admin"]


def test_exec_starts_with_a_clean_environment(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the caller's environment reaches a host."""
    monkeypatch.setenv("LAB_LEAK", "leak")
    for name in ("gw1", "ops"):
        assert "LAB_LEAK" not in lab.host(name).run(["env"]).stdout


def test_killing_a_started_command_ends_it_on_the_host(lab: Lab) -> None:
    """A command started in a host does not outlive the object that started it."""
    for name in ("gw1", "ops"):
        host = lab.host(name)
        with host.popen(["sh", "-c", "echo $$; exec sleep 987654"], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            number = process.stdout.readline().strip()
            try:
                assert host.run(["test", "-e", f"/proc/{number}"]).returncode == 0
            finally:
                process.kill()
        gone = lambda h=host, n=number: h.run(["test", "-e", f"/proc/{n}"], check=False).returncode == 1  # noqa: E731
        lab.wait.until(gone, 2, "its end")


def test_only_ops_reaches_ssh_over_the_vpn(lab: Lab) -> None:
    """The initial policy lets ops in and nobody else, over IPv4 and IPv6."""
    gateway = lab.host("gw1")
    for address in (gateway.vpn4, gateway.vpn6):
        assert _ssh_greets(lab, "ops", address)
        assert not _ssh_greets(lab, "member", address)
        assert not _ssh_greets(lab, "maintainer", address)


def test_wires(lab: Lab) -> None:
    """WAN and LAN hosts reach the gateway where they share a wire, over both families, and nowhere else."""
    gateway = lab.host("gw1")
    for host, address in (("wan", gateway.wan4), ("wan", gateway.wan6), ("lan", gateway.lan4), ("lan", gateway.lan6)):
        assert _ssh_greets(lab, host, address)
    assert not _ssh_greets(lab, "lan", gateway.wan4)
    assert not _ssh_greets(lab, "wan", gateway.vpn4)


def test_a_gateway_is_whole(lab: Lab) -> None:
    """No failed unit, a real TUN, the parking at work, nothing of ours."""
    gateway = lab.host("gw1")
    lab.wait.until(lambda: gateway.run(["systemctl", "is-system-running"]).stdout == "running\n", 20, "all units")
    assert "tun" in gateway.run(["ip", "-d", "link", "show", "tailscale0"]).stdout
    lab.wait.until(lambda: gateway.run(["parking-control", "status"]).stdout, 10, "the parking's answer")
    assert not [user for user in gateway.run(["cat", "/etc/passwd"]).stdout.splitlines() if "sightglass" in user]
    assert gateway.run(["nft", "list", "tables"]).stdout.count("sightglass") == 0


def test_ansible_reaches_the_gateway_from_ops(lab: Lab) -> None:
    """Ansible runs on ops with the generated inventory, over the VPN."""
    done = lab.host("ops").run(["ansible", "-i", "inventories/lab", "gateways", "-m", "ping"], timeout=60)
    assert "pong" in done.stdout


def test_the_machine_is_as_it_was(lab: Lab) -> None:
    """The machine's resolv.conf, links and firewall know nothing of the lab."""
    assert "lab" not in Path("/etc/resolv.conf").read_text()
    links = {path.name for path in Path("/sys/class/net").iterdir()}
    assert not {link for link in links if link.startswith(("br-", "w-", "l-", "tailscale"))}
    assert not Path("/run/netns/gw1").exists()


@pytest.mark.parametrize("way", ["reboot", "power_cut"])
def test_a_boot_starts_without_run_and_nft(lab: Lab, way: str) -> None:
    """After a reboot and after a power cut: new boot, empty /run, no foreign nft table, the disk as it was."""
    gateway = lab.host("gw1")
    gateway.run(["nft", "add", "table", "inet", "planted"])
    gateway.run(["sh", "-c", "touch /run/planted /var/planted && sync"])
    boot = gateway.run(["cat", "/proc/sys/kernel/random/boot_id"]).stdout
    assert _ssh_greets(lab, "lan", gateway.lan6), "the neighbour knows the gateway's hardware address"
    start = gateway.run(["systemctl", "show", "-P", "UserspaceTimestampMonotonic"]).stdout
    began = time.monotonic()
    getattr(lab, way)("gw1")
    assert time.monotonic() - began < 15
    assert gateway.run(["systemctl", "show", "-P", "UserspaceTimestampMonotonic"]).stdout != start
    assert boot  # the machine's own, the same before and after: a container has no other
    assert "planted" not in gateway.run(["nft", "list", "tables"]).stdout
    assert gateway.run(["ls", "/run/planted"], check=False).returncode == 2
    assert gateway.run(["ls", "/var/planted"]).returncode == 0
    assert _ssh_greets(lab, "ops", gateway.vpn4)
    assert _ssh_greets(lab, "lan", gateway.lan6), "and it is the same after the boot"


def test_only_gateways_boot(lab: Lab) -> None:
    """A namespace cannot be rebooted, and the refusal says why."""
    with pytest.raises(LabError, match="ops is a network namespace"):
        lab.reboot("ops")
