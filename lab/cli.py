"""`lab`: the test fleet on this machine."""

import argparse
import os
import sys
import time

from lab import doctor, enter, fleet, monitoring
from lab.cache import say
from lab.cgroups import Cgroup
from lab.headscale import DEFAULT_PUSH_DELAY_MS
from lab.paths import LabError
from lab.plan import DEBIANS


def main(argv: list[str] | None = None) -> int:
    """Runs one verb. Exit code 0, 1 with one sentence on stderr, or that of the command given to `exec`."""
    arguments = _parser().parse_args(argv)
    try:
        return int(arguments.verb(arguments))
    except (LabError, TimeoutError) as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lab", description="The test fleet on this machine.")
    named = argparse.ArgumentParser(add_help=False)
    named.add_argument("--name", default=os.environ.get("LAB_NAME") or "lab", help="of the lab (default: lab)")
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    verbs.add_parser("build", help="install and build what is missing; start nothing").set_defaults(verb=_build)
    up = verbs.add_parser("up", parents=[named], help="build what is missing and start a lab")
    up.add_argument("--gateways", type=int, default=1, metavar="N")
    up.add_argument("--debian", type=_releases, default=[12], metavar="12,13", help="of the gateways, in turn")
    up.add_argument("--push-delay", type=int, default=DEFAULT_PUSH_DELAY_MS, metavar="MS", help="headscale's")
    up.set_defaults(verb=_up)
    verbs.add_parser("down", parents=[named], help="end a lab; nothing of it stays").set_defaults(verb=_down)
    verbs.add_parser("doctor", help="what is missing here, and what is left of dead labs").set_defaults(verb=_doctor)
    verbs.add_parser("status", parents=[named], help="its hosts and addresses").set_defaults(verb=_status)
    for verb, method, text in (
        ("reboot", fleet.Lab.reboot, "reboot a gateway"),
        ("power-cut", fleet.Lab.power_cut, "kill a gateway, and boot it again from the same disk"),
    ):
        one = verbs.add_parser(verb, parents=[named], help=text)
        one.add_argument("host")
        one.set_defaults(verb=_again, method=method)
    execute = verbs.add_parser("exec", parents=[named], help="run a command on a host: exec HOST -- CMD …")
    execute.add_argument("--user", help="as this user instead of root")
    execute.add_argument("host")
    execute.add_argument("command", nargs=argparse.REMAINDER)
    execute.set_defaults(verb=_exec)
    return parser


def _releases(text: str) -> list[int]:
    found = [int(word) if word.isdecimal() else 0 for word in text.split(",")]
    if not set(found) <= DEBIANS:
        known = " or ".join(map(str, sorted(DEBIANS)))
        raise argparse.ArgumentTypeError(f"must be {known}, or some of them with commas, not {text[:80]!r}")
    return found


def _build(_arguments: argparse.Namespace) -> int:
    fleet.build(DEBIANS)
    monitoring.programs()
    return 0


def _up(arguments: argparse.Namespace) -> int:
    lab = fleet.Lab.up(arguments.name, arguments.gateways, push_delay_ms=arguments.push_delay, debian=arguments.debian)
    _table(lab)
    return 0


def _down(arguments: argparse.Namespace) -> int:
    start = time.monotonic()
    found = fleet.down(arguments.name)
    took = time.monotonic() - start
    say(f"{took:7.2f} s  lab {arguments.name} is down" if found else f"         lab {arguments.name} was not up")
    return 0


def _status(arguments: argparse.Namespace) -> int:
    _table(fleet.Lab.attach(arguments.name))
    return 0


def _doctor(_arguments: argparse.Namespace) -> int:
    seen = doctor.look()
    found = doctor.judge(seen)
    for finding in found:
        print(f"{finding.what}\n    do: {finding.do}")
    running = ", ".join(lab.name for lab in seen.labs if lab.alive) or "none"
    print(f"{len(found)} found; labs that run: {running}")
    return 1 if found else 0


def _again(arguments: argparse.Namespace) -> int:
    start = time.monotonic()
    arguments.method(fleet.Lab.attach(arguments.name), arguments.host)
    say(f"{time.monotonic() - start:7.2f} s  {arguments.host} is back")
    return 0


def _exec(arguments: argparse.Namespace) -> int:
    command = arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command
    if not command:
        raise LabError("exec needs a command: lab exec HOST -- CMD …")
    fleet.Lab.attach(arguments.name).host(arguments.host)
    words = enter.words(arguments.name, arguments.host, command, user=arguments.user)
    os.execvp(words[0], words)


def _table(lab: fleet.Lab) -> None:
    cgroup = Cgroup(lab.name)
    print(f"{'host':<11}{'Debian':<8}{'WAN':<12}{'WAN6':<11}{'LAN':<14}{'LAN6':<11}{'VPN':<13}{'VPN6':<23}state")
    for host in lab.hosts.values():
        part = f"{host.name}/payload/init.scope" if host.is_gateway else "init"
        state = "up" if cgroup.init_pid(part) else "off"
        columns = zip(
            (
                host.name,
                lab.data["hosts"][host.name]["debian"],
                host.wan4,
                host.wan6,
                host.lan4,
                host.lan6,
                host.vpn4,
                host.vpn6,
            ),
            (11, 8, 12, 11, 14, 11, 13, 23),
            strict=True,
        )
        print("".join(f"{value or '-':<{width}}" for value, width in columns) + state)


if __name__ == "__main__":
    sys.exit(main())
