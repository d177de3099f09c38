#!/usr/bin/python
"""Writes the maintainers' grants into a tailnet's policy and leaves every rule and comment of its owner."""

from __future__ import annotations

import difflib
import http.client
import json
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast
from urllib.parse import urlsplit

from ansible.module_utils import sightglass_hujson as hujson
from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: sightglass_headscale_policy
short_description: Grant the capabilities to watch and to approve in a tailnet's policy
description:
  - Reads the policy of a headscale 0.29 in database mode, or a policy file, replaces the grants of two capabilities,
    has headscale check the result against its live users and nodes, and writes it.
  - A grant is this module's own when its C(app) holds nothing but these capabilities. Grants have no name; a capability
    has one, and a grant of it that the list lacks is just what must not stay.
  - Grants, acls, tests, keys and comments of others keep their place and their bytes.
options:
  url:
    type: str
    description:
      - Where headscale answers, such as https://vpn.example.com.
      - With C(file), only to have it checked there; without, nobody checks users, devices and the policy's own tests.
  api_key_file: {type: path, description: File on this host that holds an API key and nothing else.}
  file: {type: path, description: "The policy's file, for who keeps it in Git or in headscale's file mode."}
  state:
    type: str
    default: present
    choices: [present, absent]
    description: C(absent) takes back the grants of both capabilities, their tests and those in C(tests).
  capability: {type: str, required: true, description: The name of the capability to watch.}
  approve_capability:
    type: str
    required: true
    description: The name of the capability to approve. Its grants open no port.
  gateways: {type: list, elements: str, required: true, description: Tags of the gateways.}
  maintainers:
    type: list
    elements: dict
    required: true
    description: Who may do what. An empty list takes the capabilities from everybody.
    options:
      src: {type: list, elements: str, required: true, description: "Users (C(ann@), C(ann@example.com)) and groups."}
      sites: {type: list, elements: str, required: true, description: "Sites by name, or C(*)."}
      cameras: {type: list, elements: str, default: ["*"], description: "Cameras by name, or C(*)."}
      can: {type: list, elements: str, choices: [view, approve], default: [view], description: What they may do there.}
  ports: {type: list, elements: str, required: true, description: "Such as C(tcp:8554)."}
  tests: {type: list, elements: dict, default: [], description: Entries for the policy's own C(tests).}
author: Sightglass
"""

EXAMPLES = r"""
- name: Let the maintainers watch
  sightglass_headscale_policy:
    url: https://vpn.example.com
    api_key_file: /run/secrets/headscale-api-key
    capability: sightglass.example/cap/view
    approve_capability: sightglass.example/cap/approve
    gateways: ["tag:gateway"]
    maintainers:
      - {src: ["ann@example.com"], sites: ["*"]}
      - {src: ["bob@example.com"], sites: ["*"], can: [approve]}
    ports: ["tcp:8554"]
"""

RETURN = r"""
grants: {type: list, elements: dict, returned: success, description: This module's grants as they stand in the policy.}
"""

_CAPABILITY = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+/[A-Za-z0-9/_-]+")
_SITE = re.compile(r"\*|[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_CAMERA = re.compile(r"\*|[a-z0-9][a-z0-9_-]{0,31}")
_PORT = re.compile(r"(tcp|udp):([1-9][0-9]{0,4})")
_TAG = re.compile(r"tag:[A-Za-z][A-Za-z0-9-]*")
_KEY = re.compile(r"[!-~]{8,512}")
_LAST_PORT = 65535
_ANSWER_BYTES = 16 << 20  # of the list of nodes; a policy is far below
_TIMEOUT_S = 20
_SHOWN_LINES = 6  # of what somebody else changed

Policy = dict[str, Any]
Grant = dict[str, Any]


class RefusedError(Exception):
    """One sentence that says what is wrong and what to do."""


@dataclass(frozen=True)
class Wish:
    """What the policy shall grant. Made by `wish`, which checks it."""

    capabilities: tuple[str, ...]
    grants: tuple[Grant, ...]
    tests: tuple[dict[str, Any], ...] = ()
    absent: bool = False


@dataclass(frozen=True)
class Tailnet:
    """Users and nodes as headscale lists them (GET user, GET node)."""

    users: tuple[dict[str, Any], ...]
    nodes: tuple[dict[str, Any], ...]

    def named(self, name: str) -> list[dict[str, Any]]:
        """The users that headscale would take `name` for: it grants nothing, and says nothing, unless there is one."""
        bare = name.removesuffix("@")
        provided = [user for user in self.users if bare and user.get("providerId") == bare]
        return provided or [user for user in self.users if bare and bare in (user.get("name"), user.get("email"))]

    def has_device(self, name: str) -> bool:
        """Whether a node is a user's of this name. A tagged node is nobody's."""
        ids = {user["id"] for user in self.named(name)}
        return any(not node.get("tags") and (node.get("user") or {}).get("id") in ids for node in self.nodes)

    def has_tag(self, tag: str) -> bool:
        """Whether a node carries the tag."""
        return any(tag in (node.get("tags") or []) for node in self.nodes)


def wish(
    capability: str,
    approve_capability: str,
    gateways: list[str],
    maintainers: list[dict[str, Any]],
    ports: list[str],
    tests: list[dict[str, Any]],
    state: str = "present",
) -> Wish:
    """Grants for these maintainers, one for each thing that an entry can do. RefusedError when a value could grant more
    than it says.
    """
    for field, name in (("capability", capability), ("approve_capability", approve_capability)):
        if not _CAPABILITY.fullmatch(name):
            raise RefusedError(f"{field} must be DOMAIN/PATH without a wildcard, not {name!r}")
    if approve_capability == capability:
        # Whoever may approve would watch.
        raise RefusedError(f"approve_capability must be another than capability, not {capability!r} too")
    _each("gateways", gateways, _TAG, "a tag such as tag:gateway")
    _each("ports", ports, _PORT, "tcp:PORT or udp:PORT")
    for port in ports:
        if int(port.partition(":")[2]) > _LAST_PORT:
            raise RefusedError(f"ports must be at most {_LAST_PORT}, not {port!r}")
    grants = []
    for entry in maintainers:
        for src in entry["src"]:
            if not (src.startswith("group:") or "@" in src) or "*" in src:
                raise RefusedError(
                    f"maintainers: src must be a user (name@ or an address) or a group, not {src!r}: "
                    "whoever may watch or approve is named"
                )
        _each("maintainers: src", entry["src"], re.compile(r".+"), "a user or a group")
        sites, cameras = entry["sites"], ["*"] if entry.get("cameras") is None else entry["cameras"]
        _each("maintainers: sites", sites, _SITE, "a site's name or *")
        _each("maintainers: cameras", cameras, _CAMERA, "a camera's name or *")
        can = ["view"] if entry.get("can") is None else entry["can"]
        _each("maintainers: can", can, re.compile("view|approve"), "view or approve")
        between = {"src": list(entry["src"]), "dst": list(gateways)}
        value = [{"sites": list(sites), "cameras": list(cameras)}]
        if "view" in can:
            grants.append({**between, "ip": list(ports), "app": {capability: value}})
        if "approve" in can:
            # No ip: whoever approves is named to the gateway, and reaches nothing there by it.
            grants.append({**between, "app": {approve_capability: value}})
    absent = state == "absent"
    return Wish((capability, approve_capability), () if absent else tuple(grants), tuple(tests), absent)


def _each(field: str, values: list[str], form: re.Pattern[str], rule: str) -> None:
    if not values:
        raise RefusedError(f"{field} must name at least one")
    for value in values:
        if not form.fullmatch(value):
            raise RefusedError(f"{field} must be {rule}, not {value!r}")


def parse(text: str) -> Policy:
    """The stored policy. RefusedError where it cannot be read, or where the VPN would allow all."""
    if not text.strip():
        raise RefusedError("the policy is empty, which allows everything to everybody: set one of your own first")
    try:
        policy = hujson.parse(text).value
    except hujson.HujsonError as error:
        raise RefusedError(f"the policy cannot be read, {error}") from None
    if not isinstance(policy, dict):
        raise RefusedError("the policy is no JSON object")
    _spelt(policy, ("acls", "grants", "groups", "tests"))
    if policy.get("acls") is None and policy.get("grants") is None:
        raise RefusedError(
            "the policy has neither acls nor grants, which allows everything to everybody: "
            'write {"grants": []} or rules of your own first'
        )
    for key in ("grants", "acls", "tests"):
        listed = policy.get(key)
        if key in policy and not (isinstance(listed, list) and all(isinstance(rule, dict) for rule in listed)):
            raise RefusedError(f"the policy: {key} is no list of objects")
    for rule in policy.get("grants") or []:
        _spelt(rule, ("src", "dst", "ip", "app"))
        if not isinstance(rule.get("app") or {}, dict) or not all(
            isinstance(rule.get(key) or [], list) and all(isinstance(one, str) for one in rule.get(key) or [])
            for key in ("src", "dst", "ip")
        ):
            raise RefusedError(
                f"the policy: a grant has lists of texts and an object app, not {json.dumps(rule)[:200]}"
            )
    return policy


def _spelt(rule: dict[str, Any], keys: tuple[str, ...]) -> None:
    """headscale reads App, a_pp and APP as app; a grant spelt so would stay unseen."""
    for key in rule:
        meant = _read_as(key)
        if meant in keys and key != meant:
            raise RefusedError(f"the policy: {key!r} must be spelt {meant!r}, so that no grant is overlooked")


def _read_as(key: str) -> str:
    return key.replace("_", "").replace("-", "").casefold()


def own(grant: Grant, capabilities: tuple[str, ...]) -> bool:
    """Whether this grant is for these capabilities alone. RefusedError when it carries one beside something else."""
    apps = grant.get("app") or {}
    held = [name for name in capabilities if name in apps]
    if not held:
        return False
    if len(apps) > len(held) or set(grant) - {"src", "dst", "ip", "app"}:
        raise RefusedError(
            f"a grant of the policy holds {held[0]} beside other rules (src {', '.join(grant.get('src') or [])}): "
            "take it out of there, so that this list alone says who may watch or approve"
        )
    return True


def accepts(grant: Grant) -> list[dict[str, Any]]:
    """The tests that state what a grant's `ip` opens: one for each source, gateway and protocol.

    The protocol is said: without one, headscale tries icmp too, and a grant of icmp:* answers for every port.
    """
    tests = []
    for src in grant.get("src") or []:
        for dst in grant.get("dst") or []:
            for proto in ("tcp", "udp"):
                ports = [port.partition(":")[2] for port in grant.get("ip") or [] if port.startswith(f"{proto}:")]
                if ports:
                    tests.append({"src": src, "proto": proto, "accept": [f"{dst}:{port}" for port in ports]})
    return tests


def merge(policy: Policy, wanted: Wish, tailnet: Tailnet | None) -> Policy:
    """A new policy: own grants and their tests replaced, where the first of them stood; all else kept in order.

    Without a tailnet to look at, no test is added for a grant: one whose source has no device yet would fail.
    """
    old = policy.get("grants") or []
    mine = [grant for grant in old if own(grant, wanted.capabilities)]
    tests = policy.get("tests") or []
    stale = [test for grant in mine for test in accepts(grant)]
    fresh = [
        test
        for grant in wanted.grants
        for test in accepts(grant)
        if (test in tests if tailnet is None else _testable(test, policy.get("groups") or {}, tailnet))
    ]
    after = dict(policy)
    if wanted.grants or mine:
        after["grants"] = _replace(old, mine, list(wanted.grants))
    stale += wanted.tests if wanted.absent else ()
    kept = _replace(tests, [test for test in tests if test in stale or test in fresh], _unique(fresh))
    kept += [test for test in _unique(list(wanted.tests)) if test not in kept and not wanted.absent]
    if kept or "tests" in policy:
        after["tests"] = kept
    return after


def _testable(test: dict[str, Any], groups: dict[str, list[str]], tailnet: Tailnet) -> bool:
    """Whether headscale could pass this test: it fails one whose source or destination has no device yet."""
    has_source = any(tailnet.has_device(name) for name in members(test["src"], groups))
    return has_source and tailnet.has_tag(test["accept"][0].rpartition(":")[0])


def rewrite(text: str, after: Policy, wanted: Wish) -> str:
    """The policy's text with the grants and tests of `after`; every other byte, comments included, as it was.

    RefusedError when that cannot be said of it.
    """
    edited = text
    mine = [*(grant for grant in parse(text).get("grants") or [] if own(grant, wanted.capabilities)), *wanted.grants]
    ours = {"grants": mine, "tests": [*(test for grant in mine for test in accepts(grant)), *wanted.tests]}
    for key in ("grants", "tests"):
        edited = hujson.with_list(edited, key, after.get(key) or [], ours[key])
    if parse(edited) != after or hujson.comments(edited) != hujson.comments(text):
        raise RefusedError("the policy cannot be changed without losing something of it: write its grants by hand")
    return edited


def _replace(rules: list[Any], mine: list[Any], fresh: list[Any]) -> list[Any]:
    first = next((index for index, rule in enumerate(rules) if rule in mine), len(rules))
    others = [rule for rule in rules[first:] if rule not in mine]
    return [*rules[:first], *fresh, *others]


def _unique(rules: list[Any]) -> list[Any]:
    return [rule for index, rule in enumerate(rules) if rule not in rules[:index]]


def members(src: str, groups: dict[str, list[str]]) -> list[str]:
    """The users that a source of a grant stands for."""
    return (groups.get(src) or []) if src.startswith("group:") else [src]


def check_users(policy: Policy, wanted: Wish, tailnet: Tailnet | None) -> None:
    """RefusedError when a maintainer is not exactly one user: headscale says nothing and grants nothing to them.

    Without a tailnet to look at, only the groups are looked up.
    """
    groups = policy.get("groups") or {}
    for src in _unique([src for grant in wanted.grants for src in grant["src"]]):
        if src.startswith("group:") and src not in groups:
            raise RefusedError(f"maintainers: the policy has no group {src!r}")
        for name in members(src, groups) if tailnet else ():
            found = tailnet.named(name) if tailnet else []
            if len(found) != 1:
                where = f" of {src}" if name != src else ""
                raise RefusedError(f"maintainers: headscale has {len(found)} users called {name!r}{where}, and not one")


def check_owners(policy: Policy, wanted: Wish) -> None:
    """RefusedError when a gateways' tag is not in the policy's tagOwners: headscale refuses such a policy, and a file
    would be refused only where it is loaded. An empty list of owners is one: such a tag comes by a key alone.
    """
    owners: Any = next((value for key, value in policy.items() if _read_as(key) == "tagowners"), None) or {}
    if not isinstance(owners, dict):
        raise RefusedError("the policy: tagOwners is no object")
    for tag in _unique([tag for grant in wanted.grants for tag in grant["dst"]]):
        if tag not in owners:
            raise RefusedError(f"the policy has no owner for the tag {tag!r}: write it into tagOwners")


def difference(before: str, after: str) -> str:
    """What somebody changed, in few words."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm="")
    changed = [line for line in lines if line[:3] not in ("---", "+++") and line[:2] != "@@"]
    shown = " | ".join(" ".join(line.split()) for line in changed[:_SHOWN_LINES])
    return shown + (f" and {len(changed) - _SHOWN_LINES} lines more" if len(changed) > _SHOWN_LINES else "")


class Place(Protocol):
    """Where a policy's text is kept."""

    def policy(self) -> str:
        """The stored text."""

    def write(self, text: str) -> None:
        """Store this one."""


@dataclass(frozen=True)
class File:
    """A policy's file. RefusedError when it cannot be read or written."""

    path: Path

    def policy(self) -> str:
        """Its text."""
        try:
            return self.path.read_bytes().decode()
        except (OSError, UnicodeDecodeError) as error:
            raise RefusedError(f"file {str(self.path)!r} cannot be read: {error}") from None

    def write(self, text: str) -> None:
        """Put a whole new file in the old one's place, with its owner and mode."""
        try:
            path = self.path.resolve()  # a link stays one
            was = path.stat()
            with tempfile.NamedTemporaryFile("wb", dir=path.parent, prefix=".policy-", delete=False) as new:
                try:
                    new.write(text.encode())
                    new.flush()
                    os.fsync(new.fileno())
                    os.fchmod(new.fileno(), was.st_mode & 0o7777)
                    os.fchown(new.fileno(), was.st_uid, was.st_gid)
                    Path(new.name).replace(path)
                except BaseException:
                    Path(new.name).unlink(missing_ok=True)
                    raise
        except OSError as error:
            raise RefusedError(f"file {str(self.path)!r} cannot be written: {error}") from None


class Headscale:
    """headscale's HTTP API. The key stays out of every message. RefusedError when it does not answer."""

    def __init__(self, url: str, key_file: Path) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc or parts.query:
            raise RefusedError("url must be http://HOST or https://HOST, with a port and a path if need be")
        self._parts = parts
        try:
            self._key = key_file.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is no text"
            raise RefusedError(f"api_key_file {str(key_file)!r} cannot be read: {why}") from None
        if not _KEY.fullmatch(self._key):
            raise RefusedError(f"api_key_file {str(key_file)!r} must hold an API key and nothing else")

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """One request to /api/v1. No redirect is followed: the key would go along."""
        kind = http.client.HTTPSConnection if self._parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(str(self._parts.hostname), self._parts.port, timeout=_TIMEOUT_S)
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}
        try:
            data = json.dumps(body) if body is not None else None
            connection.request(method, f"{self._parts.path.rstrip('/')}/api/v1/{path}", data, headers)
            answer = connection.getresponse()
            text = answer.read(_ANSWER_BYTES).decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            raise RefusedError(
                f"headscale at {self._parts.scheme}://{self._parts.netloc} does not answer to {method} {path}: {error}"
            ) from None
        finally:
            connection.close()
        if answer.status == http.HTTPStatus.UNAUTHORIZED:
            raise RefusedError("headscale refuses the API key: it is wrong or has expired")
        if answer.status != http.HTTPStatus.OK:
            raise RefusedError(f"headscale refuses {method} {path}: {_said(text) or answer.status}")
        try:
            result: dict[str, Any] = json.loads(text or "{}")
        except json.JSONDecodeError:
            raise RefusedError(
                f"url answers {method} {path} with something that is not JSON: is it headscale?"
            ) from None
        return result

    def policy(self) -> str:
        """The stored text."""
        return str(self.call("GET", "policy").get("policy", ""))

    def write(self, text: str) -> None:
        """Store this policy."""
        self.call("PUT", "policy", {"policy": text})

    def check(self, text: str) -> None:
        """Have this policy and its tests checked against the live users and nodes; nothing is stored."""
        self.call("POST", "policy/check", {"policy": text})

    def tailnet(self) -> Tailnet:
        """Its users and nodes."""
        users, nodes = self.call("GET", "user").get("users"), self.call("GET", "node").get("nodes")
        return Tailnet(tuple(users or ()), tuple(nodes or ()))


def _said(text: str) -> str:
    try:
        message = str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        message = text
    return " ".join(message.split())[:500]


def apply(place: Place, server: Headscale | None, wanted: Wish, dry: bool) -> tuple[str, str]:
    """Returns the policy's text before and after. Writes nothing when they are equal or when `dry`."""
    text = place.policy()
    before = parse(text)
    tailnet = server.tailnet() if server else None
    check_owners(before, wanted)
    check_users(before, wanted, tailnet)
    after = merge(before, wanted, tailnet)
    if after == before:
        return text, text
    edited = rewrite(text, after, wanted)
    if server:
        # Also when dry: it runs the policy's tests against the live nodes and stores nothing.
        server.check(edited)
    if dry:
        return text, edited
    # headscale 0.29 has no ETag. What somebody wrote while this ran would be lost without a word.
    if (now := place.policy()) != text:
        raise RefusedError(
            f"the policy changed while this ran ({difference(text, now)}): nothing was written, run it again"
        )
    place.write(edited)
    if (now := place.policy()) != edited:
        raise RefusedError(
            f"the policy is not what was written ({difference(edited, now)}): somebody else writes it too, run it again"
        )
    return text, edited


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "url": {"type": "str"},
            "api_key_file": {"type": "path", "no_log": False},
            "file": {"type": "path"},
            "state": {"type": "str", "default": "present", "choices": ["present", "absent"]},
            "capability": {"type": "str", "required": True},
            "approve_capability": {"type": "str", "required": True},
            "gateways": {"type": "list", "elements": "str", "required": True},
            "maintainers": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "src": {"type": "list", "elements": "str", "required": True},
                    "sites": {"type": "list", "elements": "str", "required": True},
                    "cameras": {"type": "list", "elements": "str", "default": ["*"]},
                    "can": {"type": "list", "elements": "str", "choices": ["view", "approve"], "default": ["view"]},
                },
            },
            "ports": {"type": "list", "elements": "str", "required": True},
            "tests": {"type": "list", "elements": "dict", "default": []},
        },
        required_one_of=[["url", "file"]],
        required_together=[["url", "api_key_file"]],
        supports_check_mode=True,
    )
    given = module.params
    try:
        names = ("capability", "approve_capability", "gateways", "maintainers", "ports", "tests", "state")
        wanted = wish(*(given[name] for name in names))
        server = Headscale(given["url"], Path(given["api_key_file"])) if given["url"] else None
        place = File(Path(given["file"])) if given["file"] else server
        # AnsibleModule has seen to it that one of the two is given.
        before, after = apply(cast(Place, place), server, wanted, module.check_mode)
    except RefusedError as refusal:
        module.fail_json(msg=str(refusal))
    module.exit_json(
        changed=before != after,
        grants=[grant for grant in parse(after).get("grants") or [] if own(grant, wanted.capabilities)],
        diff={
            "before": before,
            "after": after,
            "before_header": given["file"] or "headscale's policy",
            "after_header": given["file"] or "headscale's policy",
        },
    )


if __name__ == "__main__":
    main()
