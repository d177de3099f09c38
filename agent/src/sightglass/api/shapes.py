"""The request bodies, and the one sentence for a body that is not as it must be."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, field_validator

# The document says what a schema can say of it; `_reason` says the rest, and says it in words.
_SHAPE = {"minLength": 5, "maxLength": 200}
Text = Annotated[str, StringConstraints(strip_whitespace=True), Field(json_schema_extra=_SHAPE)]
Camera = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")]
Login = Annotated[str, StringConstraints(pattern=r"^[!-~]{1,128}$")]


def _printable(value: str) -> str:
    if not value.isprintable():
        raise ValueError("must be one line of printable characters")
    return value


Claimed = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100), AfterValidator(_printable)
]
"""What somebody says who they are: one line, apart from the account that the kernel names."""


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


def _reason(value: str) -> str:
    # Line breaks and terminal escapes would write lines of their own into logs and screens.
    if not 5 <= len(value) <= 200:
        raise ValueError(f"must have 5 to 200 characters, it has {len(value)}")
    if not value.isprintable():
        raise ValueError("must be one line of printable characters")
    return value


class OpenBody(_Body):
    """POST /v1/windows."""

    request_id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{8,64}$")]
    cameras: Annotated[list[Camera], Field(min_length=1, max_length=4, json_schema_extra={"uniqueItems": True})]
    minutes: Annotated[int, Field(ge=1, le=1440)] | None = None
    reason: Text
    purpose: Literal["alignment", "debug"] = "alignment"
    viewers: Annotated[list[Login], Field(max_length=16)] = []
    privacy: Literal["redacted"] = "redacted"
    claimed_name: Claimed | None = None

    _checked = field_validator("reason")(_reason)

    @field_validator("cameras")
    @classmethod
    def _once(cls, value: list[str]) -> list[str]:
        if len(set(value)) < len(value):
            raise ValueError("must name each camera once")
        return value


class CloseBody(_Body):
    """POST /v1/windows/close."""

    window: Annotated[str, StringConstraints(pattern=r"^w-[0-9a-f]{12}$")] | None = None
    reason: Text | None = None
    claimed_name: Claimed | None = None

    @field_validator("reason")
    @classmethod
    def _checked(cls, value: str | None) -> str | None:
        return None if value is None else _reason(value)


class SwitchBody(_Body):
    """POST /v1/disable and /v1/enable. `fleet`: it is said to every gateway, and has a mark and a name of its own."""

    reason: Text
    fleet: bool = False
    claimed_name: Claimed | None = None

    _checked = field_validator("reason")(_reason)
