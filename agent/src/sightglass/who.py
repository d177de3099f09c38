"""Who asked: the account by the kernel's word, by whose right, and apart from it what the person says. Pure."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import asdict, dataclass
from typing import Any

OPERATORS = "sightglass-operators"
"""Members of this group may change something, and so may root."""


@dataclass(frozen=True, slots=True)
class Who:
    """One who asked. `user` and `uid` are the kernel's word, `claimed_name` is the caller's own and proves nothing.

    `group` is the one by whose right it was: root, or OPERATORS. `shared`: the account stands for no one person.
    """

    user: str
    uid: int
    group: str
    shared: bool
    claimed_name: str | None

    def personal(self) -> dict[str, Any]:
        """As the personal fields of an event, beside its reason."""
        return asdict(self)


def who(user: str, uid: int, claimed_name: str | None, shared: Container[str]) -> Who:
    """An operator by account; `shared` are the accounts that the site has said to be shared.

    Root always is: everybody with sudo becomes root, so that the account alone never names a person.
    """
    return Who(user, uid, "root" if uid == 0 else OPERATORS, uid == 0 or user in shared, claimed_name)


def said(fields: Mapping[str, Any]) -> str:
    """In words, from the personal fields of an event or a mark: `ann`, `ann (claimed name: Ann)`, `the shared account
    admin (claimed name: ann)`, `the shared account admin (nobody named)`. Records from before the flag have none."""
    name, claimed = fields.get("user") or "?", fields.get("claimed_name")
    account = f"the shared account {name}" if fields.get("shared") else str(name)
    if claimed:
        return f"{account} (claimed name: {claimed})"
    return f"{account} (nobody named)" if fields.get("shared") else account
