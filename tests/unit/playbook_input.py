"""What each playbook must not take, by parameter. A new playbook or parameter gets its rows here, and nowhere else."""

from __future__ import annotations

from typing import Any

MISSING = object()
LONG = "x" * 3000
TEMPLATE = "{{ lookup('ansible.builtin.pipe', 'touch MARK') }}"
# The same with delimiters of its own, which a look for braces does not see.
OTHER_TEMPLATE = (
    "#jinja2: variable_start_string:'[%', variable_end_string:'%]'\n[% lookup('ansible.builtin.pipe', 'touch MARK') %]"
)
# Of every parameter: nothing where something must be, two lines with a terminal's escape,
COMMON: tuple[Any, ...] = ("", "gw1\n\x1b[2J")
# and what one look at all that was typed refuses: no text, too much of it, and templates, which Ansible would evaluate.
UNFIT: tuple[Any, ...] = (["gw1", "gw2"], {"gw1": 1}, LONG, TEMPLATE, OTHER_TEMPLATE)
SITE = (
    "gw9",
    "gateways",
    "all",
    "gw*",
    "gw1:gw2",
    "!gw1",
    "gw1,gw2",
    "localhost",
    "GW1",
    "gw1 ",
    0,
    -1,
    1e3,
    True,
    {"gw1": 1},
)
REASON = (MISSING, "four", "x" * 201, "     ", "a reason\u202e turned", "\u2028\u2028\u2028\u2028\u2028", 12345, True)
SWITCHES: dict[str, tuple[Any, ...]] = {
    "reason": REASON,
    "report": ("report.json", "/nowhere/report.txt", "/etc/hostname", 0, True),
    "unconfirmed": ("/nowhere/at-all.json", "/etc/hostname", "/", 0, True),
}
ROWS: dict[str, dict[str, tuple[Any, ...]]] = {
    "window_open": {
        "site": (MISSING, *SITE),
        "reason": REASON,
        "minutes": (0, -1, 1.5, 1e3, True, "1e3", 1441, "15 ", "15\n", "0x10", "\u0661\u0665"),
        "purpose": ("Debug", "both", 0, True),
        "cameras": ("cam1,cam1", "cam1,", "../cam1", "a,b,c,d,e", "Cam1", -1, True),
        "viewers": ("anna example", ",", "anna,,ben", ",".join(["anna"] * 17), "anna\u202e", 0, True),
        "request_id": ("short", "x" * 65, "a b c d e f g", "request-1\n", 0, -1, True),
    },
    "window_close": {
        "site": (MISSING, *SITE),
        "reason": REASON[1:],
        "window": ("w-1", "w-0123456789ab\n", "W-0123456789AB", 0, -1, True),
    },
    "window_status": {"site": SITE},
    "doctor": {"site": ("gw9", "gw*", True)},
    "ledger_accept": {"site": (MISSING, "gw9", "gw*"), "reason": (MISSING, "four")},
    "fleet_off": SWITCHES,
    # The same file with another word: one row of each is enough.
    "fleet_on": {name: values[:1] for name, values in SWITCHES.items()},
    "compliance": {"site": SITE, "report": ("~/report",), "during": ("maybe", 2, "1 ")},
    "remove": {"site": (MISSING, "gw9", "gw*"), "confirm": (MISSING, "gw2", "GW1", True), "record": ("gone", True)},
    "policy_render": {"file": (MISSING, 0, True, "/nowhere/policy.hujson", "/etc"), "check": ("maybe", 2)},
}
# What each takes, so that one bad value is the only fault.
GOOD: dict[str, dict[str, Any]] = {
    "window_open": {"site": "gw1", "reason": "a test asks"},
    "window_close": {"site": "gw1"},
    "window_status": {},
    "doctor": {},
    "ledger_accept": {"site": "gw1", "reason": "a test asks"},
    "fleet_off": {"reason": "a test asks"},
    "fleet_on": {"reason": "a test asks"},
    "compliance": {},
    "remove": {"site": "gw1", "confirm": "gw1"},
    "policy_render": {"file": __file__},
}
# A misspelt name, each for what it was meant to be: without a word the playbook would do something else.
UNKNOWN = {
    "window_open": "viewer",
    "window_close": "windows",
    "window_status": "sites",
    "doctor": "gateway",
    "ledger_accept": "resaon",
    "fleet_off": "reasons",
    "fleet_on": "reports",
    "compliance": "durring",
    "remove": "receipts",
    "policy_render": "files",
}
