"""How a command gets into a host: the words to run on the machine, and nothing of the caller's environment."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from lab.cgroups import Cgroup
from lab.paths import LabError, state_of

# What nspawn leaves a container (plus the three the lab adds), as `nsenter` alone would hand out all of root's: with
# those, `date -s` in a gateway set the machine's clock.
_GATEWAY_CAPABILITIES = 0x80FCECBFFF
WIRES = "wires"  # no host: the network namespace where the ends of all cables are
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def words(
    name: str, host: str, command: Sequence[str], *, cwd: str | None = None, user: str | None = None
) -> list[str]:
    """The full command line that runs `command` on `host` of the lab `name`. LabError when the host does not run."""
    cgroup = Cgroup(name)
    gateway = host.startswith("gw")
    part = host if gateway else "init"
    pid = cgroup.init_pid(f"{host}/payload/init.scope" if gateway else "init")
    if pid is None:
        raise LabError(f"{host} of lab {name!r} does not run" if cgroup.exists() else f"lab {name!r} is not up")
    join = cgroup.make(f"{part}/exec" if gateway else "sup")
    start = ["sh", "-c", f'for f in {" ".join(map(str, join))}; do echo $$ >"$f"; done; exec "$@"', "sh"]
    enter = ["nsenter", "-t", str(pid), "-m", "-p"]
    # The command must not outlive the process that the caller can see and kill.
    drop = ["setpriv", "--pdeathsig", "KILL"]
    if gateway:
        enter += ["-n", "-u", "-i", "-C"]
        drop += ["--bounding-set", _bounding_set(_GATEWAY_CAPABILITIES)]
        env = gateway_env(user or "root", f"/proc/{pid}/root")
    else:
        enter += ["-n"] if host == WIRES else ["ip", "netns", "exec", host]
        env = host_env(name, host)
    if user is not None:
        uid, gid = _ids(Path(f"/proc/{pid}/root/etc/passwd"), user)
        drop += ["--reuid", str(uid), "--regid", str(gid), "--init-groups"]
    clean = ["env", "-i", f"--chdir={cwd or ('/' if gateway else Path.cwd())}", *(f"{k}={v}" for k, v in env.items())]
    return [*start, *enter, *drop, *clean, *command]


def host_env(name: str, host: str) -> Mapping[str, str]:
    """What a command on one of the machine's own namespaces gets to see."""
    state = state_of(name)
    path = f"{state / host / 'bin'}:{Path(sys.prefix) / 'bin'}:{_SYSTEM_PATH}"
    return {"PATH": path, "HOME": str(state / host / "home"), "LANG": "C.UTF-8", "LAB_NAME": name, "LAB_HOST": host}


def gateway_env(user: str, root: str) -> Mapping[str, str]:
    home = "/root" if user == "root" else _passwd(Path(root) / "etc/passwd", user)[5]
    return {"PATH": _SYSTEM_PATH, "HOME": home, "USER": user, "LOGNAME": user, "LANG": "C.UTF-8"}


def _passwd(file: Path, user: str) -> list[str]:
    for line in file.read_text().splitlines():
        fields = line.split(":")
        if fields[0] == user:
            return fields
    raise LabError(f"there is no user {user!r} on this host")


def _ids(file: Path, user: str) -> tuple[int, int]:
    fields = _passwd(file, user)
    return int(fields[2]), int(fields[3])


def _bounding_set(mask: int) -> str:
    return ",".join(["-all", *(f"+cap_{bit}" for bit in range(64) if mask >> bit & 1)])
