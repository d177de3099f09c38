"""docs/openapi.json is what the routes say. Write it anew: `python -m tests.unit.test_api_document`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sightglass.api.app import make
from tests.unit.api_parts import FakeAgent

pytestmark = pytest.mark.requirement("U1")

TARGET = Path(__file__).parents[2] / "docs" / "openapi.json"


def document() -> dict[str, Any]:
    """The interface as the routes say it."""
    return make(FakeAgent()).openapi()


def test_the_document_is_that_of_the_routes() -> None:
    """A change of the interface is seen in the repository."""
    assert json.loads(TARGET.read_text()) == document(), f"run: python -m {__spec__.name}"


def test_every_route_documents_its_answer_and_its_refusals() -> None:
    """Operators' tools are written against this."""
    for path, methods in document()["paths"].items():
        assert path.startswith("/v1/")
        for method, route in methods.items():
            for status in ("200", "403", "409", "422"):
                content = route["responses"][status]["content"]
                if (path, status) == ("/v1/metrics", "200"):
                    assert list(content) == ["text/plain"]
                    continue
                schema = content["application/json"]["schema"]
                assert schema["$ref"].startswith("#/components/schemas/"), (method, path, status)
                assert (status == "200") != schema["$ref"].endswith("/Refused"), (method, path, status)


if __name__ == "__main__":
    TARGET.write_text(json.dumps(document(), indent=1, sort_keys=True) + "\n")
