"""What Python compiles out of a zip archive is kept, by its content: loaded by `lab_compiled_once.pth` on a gateway.

Ansible carries a module over as an archive of some fifty sources, and each task compiles them anew: 0.17 of its 0.41 s
of a processor. Only root's Python of the system does this; whatever fails, it compiles as ever.
"""

# ruff: noqa: PTH103, PTH105, PTH123 - each start of Python loads this, and pathlib would cost more than it

import _imp
import marshal
import os
import sys
import zipimport
from types import CodeType

PLACE = "/run/lab-compiled"
_plain = zipimport._compile_source  # type: ignore[attr-defined]


def _compile_source(path: str, source: bytes) -> CodeType:
    file = f"{PLACE}/{sys.implementation.cache_tag}-{_imp.source_hash(len(source), source).hex()}"
    try:
        with open(file, "rb") as kept:
            code: CodeType = marshal.load(kept)
        return code
    except (OSError, ValueError, EOFError, TypeError):
        pass
    code = _plain(path, source)
    try:
        os.makedirs(PLACE, mode=0o700, exist_ok=True)
        with open(f"{file}.{os.getpid()}", "wb") as new:
            marshal.dump(code, new)
        os.replace(new.name, file)
    except OSError:
        pass
    return code


if os.geteuid() == 0:
    zipimport._compile_source = _compile_source  # type: ignore[attr-defined]
