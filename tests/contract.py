"""Requests made from docs/openapi.json, those that fit it and those that do not, and what an answer to one must be."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode

DOCUMENT: dict[str, Any] = json.loads((Path(__file__).parents[1] / "docs" / "openapi.json").read_text())
OPERATIONS = tuple((method, path) for path, methods in sorted(DOCUMENT["paths"].items()) for method in sorted(methods))
FITS, UNFIT = GenerationMode.POSITIVE, GenerationMode.NEGATIVE
_LOADED = schemathesis.openapi.from_dict(DOCUMENT)


@dataclass(frozen=True)
class Asked:
    """One request as it goes over the wire."""

    method: str
    target: str
    body: bytes | None
    media: str | None

    def said(self) -> str:
        """For a test that fails."""
        return f"{self.method} {self.target} {self.media or ''} {self.body!r:.300}"


def each(method: str, path: str, mode: GenerationMode, count: int, look: Callable[[Asked], None]) -> int:
    """Call `look` with at most so many requests for this operation, always the same ones; how many there were.

    An operation without parameters has one request that fits, and none that does not.
    """
    if mode is UNFIT and not (_of(method, path).get("parameters") or _of(method, path).get("requestBody")):
        return 0
    bounded = settings(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,
        # A request that fails is short as it is; looking for a shorter one took minutes.
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    seen = 0

    @bounded
    @given(_LOADED[path][method.upper()].as_strategy(generation_mode=mode))
    def look_at(case: schemathesis.Case[Any]) -> None:
        nonlocal seen
        seen += 1
        look(_wire(case))

    look_at()
    return seen


def _wire(case: schemathesis.Case[Any]) -> Asked:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of header and query values that no client sends
        made = requests.Request(**case.as_transport_kwargs(base_url="http://agent")).prepare()
    body = made.body.encode() if isinstance(made.body, str) else made.body
    assert body is None or isinstance(body, bytes)
    media = made.headers.get("Content-Type")
    return Asked(str(made.method), made.path_url, body, None if media is None else str(media))


def _of(method: str, path: str) -> dict[str, Any]:
    found: dict[str, Any] = DOCUMENT["paths"][path][method]
    return found


def complaint(method: str, path: str, status: int, found: Any) -> str | None:
    """What is wrong with this answer by the document, or None. A refusal has to be one sentence besides."""
    documented = _of(method, path)["responses"].get(str(status))
    if documented is None:
        return f"{status} is not documented: {found}"
    (content,) = documented["content"].values()
    schema = {**content["schema"], "components": DOCUMENT["components"]}
    fault = next(jsonschema.Draft202012Validator(schema).iter_errors(found), None)
    if fault is not None:
        return f"{fault.json_path}: {fault.message}"
    if status != 200:
        said = found["message"]
        if set(found) != {"code", "message", "chain"} or not 3 <= len(said) <= 400 or not said.isprintable():
            return f"no plain sentence: {found}"
    return None
