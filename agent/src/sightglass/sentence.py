"""One sentence for what is wrong with a value from outside: the field, the rule, the value. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

_RULES = {
    "missing": "is missing",
    "extra_forbidden": "is not known here",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "dict_type": "must be an object",
    "json_invalid": "must be JSON",
}
_MOST_SHOWN = 80


def sentence(fault: Mapping[str, Any], skip: int = 0, whole: str = "the body") -> str:
    """Put one of pydantic's faults into words. `skip` leaves out as many parts of its path, `whole` names an empty one.

    Whatever the value was, the sentence is one line of printable ASCII and bounded.
    """
    path = [str(part) for part in fault["loc"][skip:] if part != "[key]"]
    field = ".".join(json.dumps(part[:_MOST_SHOWN])[1:-1] for part in path[:8]) or whole
    kind = fault["type"]
    if kind in _RULES:
        # Without the value: it may be long, and under an unknown name it may well be a password.
        return f"{field}: {_RULES[kind]}"
    rule = str(fault["msg"]).removeprefix("Value error, ").split(" after validation")[0]
    rule = re.sub(r"^[A-Z][a-z]+ should ", "must ", rule)
    rule = json.dumps(rule[:1].lower() + rule[1:])[1:-1].replace('\\"', '"').replace("\\\\", "\\")
    value = fault.get("input")
    if kind == "value_error" or isinstance(value, dict | list | bytes):
        return f"{field}: {rule}"
    shown = json.dumps(value, default=str)
    return f"{field}: {rule}, not {shown if len(shown) <= _MOST_SHOWN else shown[:_MOST_SHOWN] + '...'}"
