"""The pinned binaries of binaries.yml: built once from the module proxy, kept in the cache."""

import json
import os
import platform
import shutil
import stat
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from lab.cache import builder_lock, entry, key_of, place, sha256, step
from lab.paths import CHECKOUT, LabError, cache_root

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
# What a company's network may need to reach the module proxy; nothing else of the caller's environment gets in.
_PASSED = ("GOPROXY", "GOSUMDB", "GONOSUMDB", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")


@dataclass(frozen=True)
class Binary:
    """One row of the table, for this machine's architecture."""

    name: str
    version: str
    sha256: str
    lab: dict[str, Any]
    go: str

    @property
    def key(self) -> str:
        return key_of(self.version, self.lab, self.go)

    def place(self) -> Path:
        """Its directory in the cache, also before it is built."""
        return place("bin", self.key)


def table(file: Path = CHECKOUT / "binaries.yml", machine: str | None = None) -> dict[str, Binary]:
    """The rows of binaries.yml by name. LabError when this architecture has no pinned result."""
    import yaml  # 30 ms that `lab exec` should not pay

    data = yaml.safe_load(file.read_text())
    machine = machine or platform.machine()
    arch = _ARCHITECTURES.get(machine, machine)
    rows = {}
    for name, row in data["binaries"].items():
        digest = row["lab"]["sha256"].get(arch)
        if not digest:
            raise LabError(f"{file.name}: {name} has no lab.sha256 for {arch}, so the lab cannot run on this machine")
        rows[name] = Binary(name, row["version"], digest, row["lab"], data["go"])
    return rows


def all_binaries() -> dict[str, Path]:
    """Paths of all binaries by name; what the cache lacks is built (13 min on 2 cores for everything)."""
    rows = table()
    found = {
        name: entry("bin", row.key, f"{name} {row.version}", partial(_make, row)) / name for name, row in rows.items()
    }
    if _go_caches().exists():
        with builder_lock():
            shutil.rmtree(_go_caches(), ignore_errors=True)
    return found


def _make(row: Binary, directory: Path) -> None:
    target = directory / row.name
    if "wheel" in row.lab:
        shutil.copy2(Path(sys.prefix) / "bin" / row.name, target)
    else:
        _build(row, target)
    found = sha256(target)
    if found != row.sha256:
        raise LabError(f"binaries.yml: {row.name} should have SHA-256 {row.sha256}, got {found}")


def _go_caches() -> Path:
    """Modules and compiled packages, kept between the binaries and through an interruption, then deleted."""
    return cache_root() / "go"


def _go_env() -> dict[str, str]:
    caches = _go_caches()
    return {
        **{name: os.environ[name] for name in _PASSED if name in os.environ},
        "PATH": "/usr/bin:/bin",
        "HOME": str(caches / "home"),
        "GOMODCACHE": str(caches / "mod"),
        "GOCACHE": str(caches / "build"),
        "GOFLAGS": "-trimpath -mod=readonly -buildvcs=false -modcacherw",
        "CGO_ENABLED": "0",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
        "GOTELEMETRY": "off",
    }


def _go(*words: str, cwd: Path) -> str:
    go = Path(sys.prefix) / "bin" / "go"
    done = subprocess.run(
        [str(go), *words], cwd=cwd, env=_go_env(), capture_output=True, text=True, timeout=1800, check=False
    )
    if done.returncode:
        raise LabError(f"go {' '.join(words)} failed: {(done.stderr or done.stdout).strip()[-1500:]}")
    return done.stdout


def _build(row: Binary, target: Path) -> None:
    directory = target.parent
    (_go_caches() / "home").mkdir(parents=True, exist_ok=True)
    have = _go("env", "GOVERSION", cwd=directory).strip().removeprefix("go")
    if have != row.go:
        raise LabError(f"binaries.yml: go is {row.go}, but the environment has {have}")
    module = f"{row.lab['module']}@v{row.version}"
    with step(f"  {module} and what it needs"):
        fetched = json.loads(_go("mod", "download", "-json", module, cwd=directory))
        if fetched.get("Sum") != row.lab["sum"]:
            raise LabError(f"binaries.yml: {module} should have the sum {row.lab['sum']}, got {fetched.get('Sum')}")
        # A copy: Go refuses to build with changed files in its module cache. From the zip, whose sum was checked.
        source = directory / "source"
        _unpack(Path(fetched["Zip"]), source, f"{module}/")
        for path, text in row.lab.get("generated", {}).items():
            (source / path).write_text(text.format(version=row.version))
        _go("mod", "download", cwd=source)
    _go("build", "-ldflags", "-s -w -buildid=", "-o", str(target), row.lab["package"], cwd=source)
    target.chmod(target.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    shutil.rmtree(source)


def _unpack(archive: Path, into: Path, prefix: str) -> None:
    with zipfile.ZipFile(archive) as file:
        for member in file.infolist():
            relative = member.filename.removeprefix(prefix)
            if relative == member.filename or ".." in Path(relative).parts:
                raise LabError(f"{archive.name}: unexpected member {member.filename}")
            path = into / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            with file.open(member) as data, path.open("wb") as out:
                shutil.copyfileobj(data, out)
