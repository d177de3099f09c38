"""A refusal: the rule's name, one sentence for a person, and the HTTP status that carries it."""

from __future__ import annotations


class Refusal(Exception):  # noqa: N818 - the project's word for it
    """Nothing was changed. `code` is the rule's stable name, `message` names the field, the rule and the value."""

    def __init__(self, code: str, message: str, status: int = 409) -> None:
        super().__init__(f"{code}: {message}")
        self.code, self.message, self.status = code, message, status
