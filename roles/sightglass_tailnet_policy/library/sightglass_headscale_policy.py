#!/usr/bin/python
"""Ansible module: what Sightglass needs in headscale's policy, merged into what the owner has there."""

from __future__ import annotations

DOCUMENTATION = r"""
module: sightglass_headscale_policy
short_description: Let viewers reach the gateways' windows in headscale's policy
description:
  - Reads the policy, merges the grants of Sightglass and their tests into it, lets headscale check the result, and only
    then writes it.
  - A grant is Sightglass's own when every value in it carries C(managed_by=sightglass); only those are ever changed or
    removed, with the tests that belong to them. Everything else stays as it is.
  - Needs headscale 0.29 or newer with C(policy.mode) C(database).
options:
  url:
    description: Base URL of headscale.
    type: str
    required: true
  key_file:
    description: File with an API key.
    type: path
    required: true
  tag:
    description: The gateways' tag. It must exist in the policy.
    type: str
    default: tag:gateway
  capability:
    description: The capability that makes a peer a viewer.
    type: str
    default: sightglass.example/cap/view
  ports:
    description: What a viewer may reach, as C(tcp:8554) or C(udp:8189).
    type: list
    elements: str
    required: true
  viewers:
    description: Who may watch where.
    type: list
    elements: dict
    required: true
    suboptions:
      src:
        description: Users (C(name@)), groups (C(group:name)) or addresses.
        type: list
        elements: str
        required: true
      sites:
        description: Names of sites, or C(*).
        type: list
        elements: str
        required: true
      cameras:
        description: Names of cameras, or C(*).
        type: list
        elements: str
        default: ['*']
  tests:
    description: Further tests that the policy must hold and pass, in headscale's form.
    type: list
    elements: dict
    default: []
  timeout:
    description: Seconds for one request.
    type: int
    default: 15
attributes:
  check_mode:
    support: full
    description: The result is checked by headscale, and not written.
  diff_mode:
    support: full
author:
  - Sightglass
"""

EXAMPLES = r"""
- name: Let the maintainers watch
  sightglass_headscale_policy:
    url: https://headscale.example
    key_file: /etc/sightglass/headscale.key
    ports: [tcp:8554]
    viewers:
      - src: [group:maintainers]
        sites: ['*']
    tests:
      - {src: guest@, proto: tcp, deny: ['tag:gateway:8554']}
"""

RETURN = r"""
grants:
  description: Sightglass's own grants as they now stand in the policy.
  type: list
  elements: dict
  returned: success
"""

import json
import urllib.error
import urllib.request
from typing import Any

from ansible.module_utils.basic import AnsibleModule

MARK = "sightglass"
Policy = dict[str, Any]
Headscale = Any  # a callable (method, path, body) -> (status, text)


class Refused(Exception):  # noqa: N818 - the project's word for it
    """Nothing was written; the message is one sentence."""


def parse(text: str) -> Policy:
    """The policy as an object. Raises Refused when it is not plain JSON, or when merging could lose something."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise Refused(f"the policy must have each key once, but {twice!r} stands twice in one object")
        return dict(pairs)

    try:
        policy = json.loads(text, object_pairs_hook=once)
    except ValueError as error:
        raise Refused(
            f"the policy must be plain JSON, and this one is not ({error}): comments and trailing commas would be lost"
        ) from error
    if not isinstance(policy, dict):
        raise Refused(f"the policy must be a JSON object, not {type(policy).__name__}")
    return policy


def guard(policy: Policy) -> None:
    """Raises Refused for a policy that lets everybody reach everything, openly or by what it does not say."""
    if "grants" not in policy and "acls" not in policy:
        raise Refused(
            "the policy must have grants or acls: headscale takes one without either as `allow everything`, and the first"
            " grant of ours would cut everybody else off; write your rules first"
        )
    for kind, ports in (("grants", "ip"), ("acls", None)):
        for number, rule in enumerate(policy.get(kind) or []):
            anyone = {"*", "autogroup:danger-all"} & set(rule.get("src") or [])
            everything = (
                "*" in (rule.get("dst") or []) and "*" in (rule.get(ports) or [])
                if ports
                else "*:*" in (rule.get("dst") or [])
            )
            if anyone and everything:
                raise Refused(f"{kind}[{number}] must not let everybody reach everything: it opens the gateways too")


def own(grant: Any, capability: str) -> bool:
    """Whether a grant is Sightglass's: nothing but our capability in it, and our mark in each value."""
    app = grant.get("app") if isinstance(grant, dict) else None
    if not isinstance(app, dict) or set(app) != {capability} or not app[capability]:
        return False
    return all(isinstance(value, dict) and value.get("managed_by") == MARK for value in app[capability])


def grants_for(viewers: list[dict[str, Any]], tag: str, capability: str, ports: list[str]) -> list[dict[str, Any]]:
    """The grants that let the viewers in: ports and capability in one rule, so that neither stands without the other."""
    return [
        {
            "src": viewer["src"],
            "dst": [tag],
            "ip": ports,
            "app": {capability: [{"sites": viewer["sites"], "cameras": viewer["cameras"], "managed_by": MARK}]},
        }
        for viewer in viewers
    ]


def tests_for(grants: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One test for each source and protocol. They also find a misspelt user, whom headscale's grants ignore silently."""
    found = []
    for grant in grants:
        for source in grant["src"]:
            for protocol in ("tcp", "udp"):
                ports = [port.partition(":")[2] for port in grant["ip"] if port.startswith(f"{protocol}:")]
                accept = [f"{tag}:{port}" for tag in grant["dst"] for port in ports]
                if accept:
                    found.append({"src": source, "proto": protocol, "accept": accept})
    return found


def merge(
    policy: Policy, wanted: list[dict[str, Any]], extra_tests: list[dict[str, Any]], capability: str
) -> tuple[Policy, list[dict[str, Any]]]:
    """The policy with Sightglass's grants as wanted, and those grants. Order and everything of the owner's stay."""
    before = policy.get("grants") or []
    ours = [grant for grant in before if own(grant, capability)]
    tests = policy.get("tests") or []
    stale, fresh = tests_for(ours), tests_for(wanted)
    kept = [test for test in tests if test not in stale or test in fresh]
    # Kept as they stand when they are already as wanted: rearranging would be a change without a meaning.
    grants = before if ours == wanted else [grant for grant in before if not own(grant, capability)] + wanted
    merged = {**policy, "grants": grants}
    added = [test for test in fresh + extra_tests if test not in kept]
    if kept + added or "tests" in policy:
        merged["tests"] = kept + [test for number, test in enumerate(added) if test not in added[:number]]
    return merged, wanted


def read(call: Headscale) -> str:
    """The policy's text as headscale holds it."""
    status, text = call("GET", "policy", None)
    if status != 200:
        raise Refused(f"headscale must have a policy to merge into, but GET policy says {status}: {said(text)}")
    return str(json.loads(text)["policy"])


def write(call: Headscale, seen: str, fresh: str) -> None:
    """Writes the policy if nobody changed it meanwhile (headscale's API has no such condition of its own)."""
    if read(call) != seen:
        raise Refused("somebody else has changed the policy in this moment: run this again")
    status, text = call("PUT", "policy", {"policy": fresh})
    if status != 200:
        raise Refused(f"headscale does not take the policy: {said(text)}")
    if parse(read(call)) != parse(fresh):
        raise Refused("headscale now has another policy than the one that was written: run this again")


def said(text: str) -> str:
    """What headscale's answer says, on one line."""
    try:
        text = json.loads(text)["message"]
    except (ValueError, KeyError, TypeError):
        pass
    return " ".join(str(text).split())[:500]


def headscale(url: str, key: str, timeout: int) -> Headscale:
    """A client of API v1."""

    def call(method: str, path: str, body: Any) -> tuple[int, str]:
        request = urllib.request.Request(  # noqa: S310 - the owner's own URL
            f"{url.rstrip('/')}/api/v1/{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:  # noqa: S310
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode(errors="replace")
        except OSError as error:
            raise Refused(f"url must lead to headscale, and {url} does not answer: {error}") from error

    return call


def run(call: Headscale, params: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    """Merge, let headscale check, write. Returns the module's result."""
    seen = read(call)
    policy = parse(seen)
    guard(policy)
    wanted = grants_for(params["viewers"], params["tag"], params["capability"], params["ports"])
    merged, grants = merge(policy, wanted, params["tests"], params["capability"])
    fresh = json.dumps(merged, indent=2, ensure_ascii=False) + "\n"
    status, text = call("POST", "policy/check", {"policy": fresh})
    if status != 200:
        raise Refused(f"headscale refuses the merged policy, and nothing was written: {said(text)}")
    changed = merged != policy
    if changed and not check_mode:
        write(call, seen, fresh)
    after = fresh if changed else seen
    return {"changed": changed, "grants": grants, "diff": {"before": seen, "after": after}}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "url": {"type": "str", "required": True},
            "key_file": {"type": "path", "required": True, "no_log": False},
            "tag": {"type": "str", "default": "tag:gateway"},
            "capability": {"type": "str", "default": "sightglass.example/cap/view"},
            "ports": {"type": "list", "elements": "str", "required": True},
            "viewers": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "src": {"type": "list", "elements": "str", "required": True},
                    "sites": {"type": "list", "elements": "str", "required": True},
                    "cameras": {"type": "list", "elements": "str", "default": ["*"]},
                },
            },
            "tests": {"type": "list", "elements": "dict", "default": []},
            "timeout": {"type": "int", "default": 15},
        },
        supports_check_mode=True,
    )
    params = module.params
    try:
        with open(params["key_file"], encoding="utf-8") as file:
            key = file.read().strip()
    except OSError as error:
        module.fail_json(msg=f"key_file must be a readable file with an API key: {error}")
        return
    try:
        result = run(headscale(params["url"], key, params["timeout"]), params, module.check_mode)
    except Refused as refused:
        module.fail_json(msg=str(refused))
        return
    module.exit_json(**result)


if __name__ == "__main__":
    main()
