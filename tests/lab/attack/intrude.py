"""Try things on a gateway as whoever runs this. In: a JSON list of attempts; out: one outcome each, in their order.

An attempt is `[kind, argument...]`; its outcome is `done`, or `done: ` with what was found, or `no: ` with the error's
name. Runs with the gateway's own Python, alone, also inside a unit's sandbox. A programming error ends with a non-zero
exit code: an empty answer is never "refused".
"""

from __future__ import annotations

import concurrent.futures
import ctypes
import errno
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.shmat.restype = ctypes.c_void_p
_WAIT_S = 1.5


def unix(path: str, said: str = "") -> str:
    """Connect to a socket; say something, and return what is answered."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as out:
        out.settimeout(_WAIT_S)
        out.connect(path.replace("@", "\0", 1) if path.startswith("@") else path)
        return _heard(out, said)


def tcp(address: str, port: int, said: str = "", source: int = 0) -> str:
    """The same over TCP, from a source port when one is given."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as out:
        out.settimeout(_WAIT_S)
        if source:
            out.bind((address, source))
        out.connect((address, port))
        return _heard(out, said)


def udp(address: str, port: int, source: int = 0) -> str:
    """Send one datagram."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as out:
        if source:
            out.bind(("", source))
        out.sendto(b"sightglass-intruder", (address, port))
    return ""


def listen(address: str, port: int) -> str:
    """Listen, with every option that could take a port away from somebody."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as out:
        for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
            out.setsockopt(socket.SOL_SOCKET, option, 1)
        out.bind((address, port))
        out.listen(1)
    return ""


def sockets(family: str, kind: str, protocol: int = 0) -> str:
    """Make a socket of this kind."""
    socket.socket(getattr(socket, family), getattr(socket, kind), protocol).close()
    return ""


def run(*words: str) -> str:
    """Run a program."""
    done = subprocess.run(words, capture_output=True, text=True, timeout=10, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise OSError(errno.EPERM, f"exit {done.returncode}: {done.stderr.strip()[:300]}")
    return done.stdout[:2000]


def read(path: str) -> str:
    """Read a file, or list a directory."""
    place = Path(path)
    if place.is_dir():
        return " ".join(each.name for each in place.iterdir())[:200]
    with place.open("rb") as file:
        return file.read(4096).decode(errors="replace")[:200]


def memory(pid: int) -> str:
    """Open a process's memory through /proc."""
    Path(f"/proc/{pid}/mem").open("rb", 0).close()
    return ""


def vm_read(pid: int) -> str:
    """process_vm_readv: the other way into a process's memory. Who may do it is told that the address is none."""

    class Vector(ctypes.Structure):
        _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))

    buffer = ctypes.create_string_buffer(16)
    local = Vector(ctypes.cast(buffer, ctypes.c_void_p), 16)
    there = Vector(8, 16)
    if _LIBC.process_vm_readv(pid, ctypes.byref(local), 1, ctypes.byref(there), 1, 0) == -1:
        code = ctypes.get_errno()
        if code != errno.EFAULT:
            raise OSError(code, os.strerror(code))
    return ""


def trace(pid: int) -> str:
    """Attach as a debugger, without stopping the process (PTRACE_SEIZE), and let go at this program's end."""
    _checked(_LIBC.ptrace(0x4206, pid, None, None))
    return ""


def namespace(flags: str) -> str:
    """Leave for new namespaces, in a child."""
    pid = os.fork()
    if pid == 0:
        os._exit(0 if _LIBC.unshare(int(flags, 16)) == 0 else ctypes.get_errno())
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    if code:
        raise OSError(code, os.strerror(code))
    return ""


def shared(key: int, text: str = "") -> str:
    """System V shared memory of anybody's: write something that outlives this process, or read it."""
    size = 4096
    number = _checked(_LIBC.shmget(key, size, 0o1666 if text else 0))
    place = _LIBC.shmat(number, None, 0)
    if place in (None, ctypes.c_void_p(-1).value):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    if text:
        ctypes.memmove(place, text.encode() + b"\0", len(text.encode()) + 1)
        return ""
    return ctypes.string_at(place).decode()


def queue(name: str, text: str = "") -> str:
    """A POSIX message queue of anybody's: the same."""
    rt = ctypes.CDLL("librt.so.1", use_errno=True)
    before = os.umask(0)
    number = rt.mq_open(name.encode(), os.O_RDWR | os.O_NONBLOCK | (os.O_CREAT if text else 0), 0o666, None)
    os.umask(before)
    _checked(number)
    if text:
        _checked(rt.mq_send(number, text.encode(), len(text.encode()), 0))
        return ""
    buffer = ctypes.create_string_buffer(65536)
    length = _checked(rt.mq_receive(number, buffer, 65536, None))
    return buffer.raw[:length].decode()


def key(text: str) -> str:
    """Keep something in this user's keyring."""
    add_key = 248 if os.uname().machine == "x86_64" else 217
    _checked(_LIBC.syscall(add_key, b"user", b"intruder", text.encode(), len(text.encode()), -4))
    return ""


def writable(top: str) -> str:
    """The directories and files below `top` that this process may write to, as far as it can look."""
    found = []
    for place, directories, files in os.walk(top):
        directories[:] = [name for name in directories if f"{place}{name}" not in ("/proc", "/sys")]
        if os.access(place, os.W_OK | os.X_OK):
            trial = Path(place, ".intruder")
            try:
                trial.touch()
                trial.unlink()
                found.append(place)
            except OSError:
                pass
        for name in files:
            path = Path(place, name)
            if os.access(path, os.W_OK) and path.is_file() and not path.is_symlink():
                found.append(str(path))
    return " ".join(found)


def write(path: str) -> str:
    """Open a file for writing, and leave it as it is."""
    os.close(os.open(path, os.O_WRONLY | os.O_APPEND))
    return ""


def dial(address: str, port: int) -> str:
    """Ask tailscaled to connect, as `tailscale nc` does: it does so, or says that one should do it oneself."""
    fields = {"Host": "local-tailscaled.sock", "Upgrade": "ts-dial", "Connection": "upgrade"}
    fields |= {"Dial-Host": address, "Dial-Port": str(port), "Dial-Network": "tcp"}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    answer = unix("/run/tailscale/tailscaled.sock", f"POST /localapi/v0/dial HTTP/1.1\r\n{lines}\r\n")
    if "\r\nDial-Self: true\r\n" in answer:
        return "yourself"
    if not answer.startswith("HTTP/1.1 101 "):
        raise ConnectionRefusedError(errno.ECONNREFUSED, answer.splitlines()[0])
    return "connected"


def signal(pid: int) -> str:
    """Whether a signal would be delivered."""
    os.kill(pid, 0)
    return ""


def _heard(out: socket.socket, said: str) -> str:
    if not said:
        return ""
    out.sendall(said.encode())
    heard = out.recv(4096)
    if not heard:
        raise ConnectionResetError(errno.ECONNRESET, "hung up")
    return heard.decode(errors="replace")


def _checked(result: int) -> int:
    if result == -1:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


KINDS = {
    name.replace("_", "-"): function
    for name, function in list(globals().items())
    if callable(function) and not name.startswith("_") and getattr(function, "__module__", None) == __name__
}


def attempt(kind: str, *arguments: object) -> str:
    """One attempt's outcome."""
    try:
        found = KINDS[kind](*arguments)
    except TimeoutError:
        return "no: TIMEOUT"
    except OSError as error:
        name = errno.errorcode.get(error.errno or 0, type(error).__name__)
        return f"no: {name} {error.strerror or ''}".rstrip()
    return f"done: {found}" if found else "done"


if __name__ == "__main__":
    asked = json.load(sys.stdin) if len(sys.argv) < 2 else json.loads(sys.argv[1])
    # Side by side: most of the time goes into waiting for what does not come.
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        sys.stdout.write(json.dumps(list(pool.map(lambda each: attempt(*each), asked))) + "\n")
