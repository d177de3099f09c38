"""The merge into headscale's policy: what is the owner's stays, what is ours is replaced, traps are refused."""

from __future__ import annotations

import copy
import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.plugins import loaded

module: Any = loaded("library/sightglass_headscale_policy.py")

CAPABILITY = "sightglass.example/cap/view"
APPROVE = "sightglass.example/cap/approve"
PORTS = ["tcp:8550", "tcp:8554", "udp:8189"]
KEY = "hskey-api-abcdefgh-0123456789"
USERS = (
    {"id": "1", "name": "ann", "email": "ann@example.com", "providerId": ""},
    {"id": "2", "name": "bob", "email": "", "providerId": ""},
    {"id": "3", "name": "cat", "email": "", "providerId": ""},
)
# cat has no device.
NODES = (
    {"user": {"id": "1"}, "tags": []},
    {"user": {"id": "2"}, "tags": []},
    {"user": {"id": "2147455555"}, "tags": ["tag:gateway"]},
)
TAILNET = module.Tailnet(USERS, NODES)

names = st.sampled_from(["ann@", "bob@", "cat@", "ann@example.com"])
entries = st.fixed_dictionaries(
    {
        "src": st.lists(names, min_size=1, max_size=3),
        "sites": st.lists(st.sampled_from(["*", "north", "south"]), min_size=1, max_size=2),
        "cameras": st.lists(st.sampled_from(["*", "cam1"]), min_size=1, max_size=2),
        "can": st.lists(st.sampled_from(["view", "approve"]), min_size=1, max_size=2, unique=True),
    }
)
words = st.sampled_from(["*", "tag:ops", "tag:gateway", "ann@", "group:x", "tcp:22", "tcp:8554", "icmp:*"])
theirs = st.dictionaries(
    st.sampled_from(["src", "dst", "ip", "via"]), st.lists(words, min_size=1, max_size=2), min_size=1
) | st.just({"src": ["*"], "dst": ["tag:nas"], "app": {"nas.example/cap/admin": [{}]}})
their_tests = st.fixed_dictionaries({"src": words, "deny": st.just(["tag:gateway:22"])})
ours = entries.map(lambda entry: wish(entry).grants[0])


def wish(*maintainers: dict[str, Any], tests: list[dict[str, Any]] | None = None) -> Any:
    return module.wish(CAPABILITY, APPROVE, ["tag:gateway"], list(maintainers), PORTS, tests or [])


def held(grant: dict[str, Any]) -> bool:
    return bool({CAPABILITY, APPROVE} & set(grant.get("app", {})))


@st.composite
def policies(draw: st.DrawFn) -> dict[str, Any]:
    grants = draw(st.lists(theirs | ours, max_size=6))
    tests = draw(st.lists(their_tests, max_size=3))
    policy: dict[str, Any] = {
        "tagOwners": {"tag:gateway": []},
        "grants": grants,
        "acls": [],
        "randomizeClientPort": True,
    }
    return policy | ({"tests": tests} if tests or len(grants) % 2 else {})


def owners(policy: dict[str, Any]) -> list[dict[str, Any]]:
    return [grant for grant in policy["grants"] if not held(grant)]


@pytest.mark.requirement("A5")
@given(policies(), st.lists(entries, max_size=3))
def test_keeps_the_owners_rules_in_order(policy: dict[str, Any], maintainers: list[dict[str, Any]]) -> None:
    """Every rule, test and key of the owner has its value and its order after a merge, and the input is untouched."""
    given_policy = copy.deepcopy(policy)
    after = module.merge(policy, wish(*maintainers), TAILNET)
    assert policy == given_policy
    assert owners(after) == owners(policy)
    theirs_after = [test for test in after.get("tests", []) if "deny" in test]
    assert theirs_after == policy.get("tests", [])
    assert [key for key in after if key != "tests"] == [key for key in policy if key != "tests"]


@pytest.mark.requirement("A5")
@given(policies(), st.lists(entries, max_size=3))
def test_grants_what_the_list_says_and_no_more(policy: dict[str, Any], maintainers: list[dict[str, Any]]) -> None:
    """Whatever grants of a capability there were, the list's are the only ones afterwards, and side by side."""
    wanted = wish(*maintainers)
    after = module.merge(policy, wanted, TAILNET)
    places = [index for index, grant in enumerate(after["grants"]) if held(grant)]
    assert tuple(after["grants"][index] for index in places) == wanted.grants
    assert places == list(range(places[0], places[0] + len(places))) if places else not wanted.grants


@given(policies(), st.lists(entries, max_size=3), st.lists(their_tests, max_size=2))
def test_changes_nothing_the_second_time(
    policy: dict[str, Any], maintainers: list[dict[str, Any]], tests: list[dict[str, Any]]
) -> None:
    """A merge of a merge is the same policy, also after the way through headscale's text."""
    wanted = wish(*maintainers, tests=tests)
    once = module.merge(policy, wanted, TAILNET)
    assert module.merge(module.parse(json.dumps(once)), wanted, TAILNET) == once


@given(policies(), st.lists(entries, min_size=1, max_size=3))
def test_takes_back_all_that_it_gave(policy: dict[str, Any], maintainers: list[dict[str, Any]]) -> None:
    """An emptied list leaves the owner's rules and tests alone."""
    after = module.merge(module.merge(policy, wish(*maintainers), TAILNET), wish(), TAILNET)
    assert after["grants"] == owners(policy)
    assert after.get("tests", []) == policy.get("tests", [])


def test_tests_only_where_there_are_devices() -> None:
    """headscale fails a test whose source or destination has no device, so such a test waits for one."""
    everybody = wish({"src": ["ann@", "cat@"], "sites": ["*"]})
    tests = module.merge({"grants": []}, everybody, TAILNET)["tests"]
    assert tests == [
        {"src": "ann@", "proto": "tcp", "accept": ["tag:gateway:8550", "tag:gateway:8554"]},
        {"src": "ann@", "proto": "udp", "accept": ["tag:gateway:8189"]},
    ]
    assert "tests" not in module.merge({"grants": []}, everybody, module.Tailnet(USERS, NODES[:2]))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty, which allows everything"),
        (" \n", "empty, which allows everything"),
        ("{}", "neither acls nor grants, which allows everything"),
        ('{"acls": null, "tagOwners": {}}', "neither acls nor grants"),
        ('{"grants": [] // ours\n "acls": []}', "line 2: a comma or } must stand here"),
        ('{"grants": [], "grants": []}', "the key 'grants' stands twice"),
        ('{"grants": [], "tests": null}', "tests is no list"),
        ('{"grants": {}}', "grants is no list"),
        ('{"grants": [{"src": [1]}]}', "a grant has lists of texts"),
        ('{"grants": [{"app": 5}]}', "a grant has lists of texts"),
        ("[]", "no JSON object"),
    ],
)
def test_refuses_a_policy_it_could_harm(text: str, said: str) -> None:
    """What headscale takes as allow-all, and what a rewrite would lose, is refused in a sentence."""
    with pytest.raises(module.RefusedError, match=said):
        module.parse(text)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"capability": "*"}, "without a wildcard"),
        ({"capability": "sightglass.example/cap/*"}, "without a wildcard"),
        ({"capability": "https://sightglass.example/cap"}, "DOMAIN/PATH"),
        ({"approve_capability": "sightglass.example/*"}, "approve_capability must be DOMAIN/PATH without a wildcard"),
        ({"approve_capability": CAPABILITY}, "must be another than capability, not 'sightglass.example/cap/view' too"),
        ({"maintainers": [{"src": ["ann@"], "sites": ["*"], "can": []}]}, "can must name at least one"),
        ({"maintainers": [{"src": ["ann@"], "sites": ["*"], "can": ["open"]}]}, "can must be view or approve"),
        ({"maintainers": [{"src": ["*"], "sites": ["*"], "can": ["approve"]}]}, "watch or approve is named"),
        ({"gateways": ["*"]}, "gateways must be a tag"),
        ({"gateways": []}, "gateways must name at least one"),
        ({"ports": ["*"]}, "ports must be"),
        ({"ports": ["tcp:1-9000"]}, "ports must be"),
        ({"ports": ["tcp:65536"]}, "at most 65535"),
        ({"maintainers": [{"src": ["*"], "sites": ["*"]}]}, "whoever may watch or approve is named"),
        ({"maintainers": [{"src": ["autogroup:member"], "sites": ["*"]}]}, "whoever may watch or approve is named"),
        ({"maintainers": [{"src": ["tag:ops"], "sites": ["*"]}]}, "whoever may watch or approve is named"),
        ({"maintainers": [{"src": [], "sites": ["*"]}]}, "src must name at least one"),
        ({"maintainers": [{"src": ["ann@"], "sites": []}]}, "sites must name at least one"),
        ({"maintainers": [{"src": ["ann@"], "sites": ["north*"]}]}, "sites must be"),
        ({"maintainers": [{"src": ["ann@"], "sites": ["*"], "cameras": ["Cam 1"]}]}, "cameras must be"),
        ({"maintainers": [{"src": ["ann@"], "sites": ["*"], "cameras": []}]}, "cameras must name at least one"),
    ],
)
def test_refuses_a_wish_that_grants_more_than_it_says(change: dict[str, Any], said: str) -> None:
    """Wildcards where a name must stand, and values that no agent would understand, are refused."""
    asked = {"capability": CAPABILITY, "approve_capability": APPROVE, "gateways": ["tag:gateway"], "maintainers": []}
    with pytest.raises(module.RefusedError, match=said):
        module.wish(**asked | {"ports": PORTS, "tests": []} | change)


@pytest.mark.requirement("A5")
def test_who_may_approve_gets_a_grant_of_its_own_that_opens_no_port() -> None:
    """Beside the one to view where somebody may both; without a port there is nothing that headscale could test."""
    value = [{"sites": ["north"], "cameras": ["*"]}]
    between = {"src": ["ann@"], "dst": ["tag:gateway"]}
    view, approve = {**between, "ip": PORTS, "app": {CAPABILITY: value}}, {**between, "app": {APPROVE: value}}
    entry: dict[str, Any] = {"src": ["ann@"], "sites": ["north"]}
    for can, grants in (
        (None, [view]),
        (["view"], [view]),
        (["approve"], [approve]),
        (["approve", "view"], [view, approve]),
    ):
        after = module.merge({"grants": []}, wish(entry | ({} if can is None else {"can": can})), TAILNET)
        assert after["grants"] == grants
        assert [test["proto"] for test in after.get("tests", [])] == (["tcp", "udp"] if view in grants else [])
    both = {**between, "app": {CAPABILITY: value, APPROVE: value}}
    assert module.merge({"grants": [both]}, wish(), TAILNET)["grants"] == [], "one grant of both is ours, too"


@pytest.mark.parametrize(
    ("src", "users", "said"),
    [
        ("ghost@", USERS, "0 users called 'ghost@', and not one"),
        ("@", USERS, "0 users called '@'"),
        ("group:vendor", USERS, "0 users called 'dan@' of group:vendor"),
        ("group:other", USERS, "no group 'group:other'"),
        ("ann@", (*USERS, {"id": "9", "name": "ann"}), "has 2 users called 'ann@'"),
    ],
)
def test_refuses_users_that_headscale_does_not_know(src: str, users: tuple[dict[str, Any], ...], said: str) -> None:
    """headscale grants nothing to a misspelt user and says nothing about it, so the role says the name."""
    policy = {"grants": [], "groups": {"group:vendor": ["ann@", "dan@"]}}
    with pytest.raises(module.RefusedError, match=said):
        module.check_users(policy, wish({"src": [src], "sites": ["*"]}), module.Tailnet(users, NODES))


@pytest.mark.parametrize(
    "rule",
    [
        {"src": ["bob@"], "dst": ["tag:nas"], "app": {CAPABILITY: [{}], "nas.example/cap/admin": [{}]}},
        {"src": ["bob@"], "dst": ["tag:gateway"], "via": ["tag:router"], "app": {CAPABILITY: [{}]}},
        {"src": ["bob@"], "dst": ["tag:nas"], "app": {APPROVE: [{}], "nas.example/cap/admin": [{}]}},
    ],
)
def test_refuses_to_touch_a_rule_that_is_half_the_owners(rule: dict[str, Any]) -> None:
    """A grant that holds the capability beside something else is neither replaced nor left standing."""
    with pytest.raises(module.RefusedError, match=r"beside other rules \(src bob@\)"):
        module.merge({"grants": [rule]}, wish(), TAILNET)


STORED = '{"tagOwners": {"tag:gateway": []}, "grants": []}'


class Server(BaseHTTPRequestHandler):
    """A headscale of one policy; `log` holds what it was asked, `race` a text that somebody writes during the check."""

    stored = ""
    race = ""
    log: list[str]

    def answer(self) -> None:
        self.log.append(f"{self.command} {self.path.removeprefix('/api/v1/')}")
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or "{}")
        code = 200
        said: dict[str, Any] = {}
        if self.headers["Authorization"] != f"Bearer {KEY}":
            code = 401
        elif self.path.endswith("/policy/check"):
            type(self).stored = self.race or self.stored
        elif self.path.endswith("/policy"):
            if self.command == "PUT":
                type(self).stored = body["policy"]
            said = {"policy": self.stored}
        elif self.path.endswith("/user"):
            said = {"users": list(USERS)}
        elif self.path.endswith("/node"):
            said = {"nodes": list(NODES)}
        data = json.dumps(said).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_PUT = do_POST = answer  # noqa: N815 - the names that http.server calls

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@pytest.fixture
def served() -> Iterator[tuple[type[Server], str]]:
    kind = type("Served", (Server,), {"log": [], "stored": STORED})
    with ThreadingHTTPServer(("127.0.0.1", 0), kind) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield kind, f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join(5)


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    file = tmp_path / "key"
    file.write_text(KEY + "\n")
    return file


def test_checks_before_it_writes(served: tuple[type[Server], str], key_file: Path) -> None:
    """A write comes after headscale's own check; a dry run ends before it; the second run only reads."""
    kind, url = served
    server, wanted = module.Headscale(url, key_file), wish({"src": ["ann@"], "sites": ["*"]})
    module.apply(server, server, wanted, dry=True)
    assert kind.log == ["GET policy", "GET user", "GET node", "POST policy/check"]
    assert kind.stored == STORED
    kind.log.clear()
    before, after = module.apply(server, server, wanted, dry=False)
    assert before != after == kind.stored
    assert kind.log.index("POST policy/check") < kind.log.index("PUT policy")
    kind.log.clear()
    module.apply(server, server, wanted, dry=False)
    assert kind.log == ["GET policy", "GET user", "GET node"]


def test_does_not_overwrite_what_somebody_just_wrote(served: tuple[type[Server], str], key_file: Path) -> None:
    """A policy that changed between reading and writing is left as it is."""
    kind, url = served
    kind.race = '{"grants": [{"src": ["bob@"]}]}'
    server = module.Headscale(url, key_file)
    with pytest.raises(module.RefusedError) as refused:
        module.apply(server, server, wish({"src": ["ann@"], "sites": ["*"]}), dry=False)
    assert str(refused.value) == (
        "the policy changed while this ran "
        f'(-{STORED} | +{{"grants": [{{"src": ["bob@"]}}]}}): '
        "nothing was written, run it again"
    )
    assert kind.stored == kind.race


OWNERS = """\
// Whoever changes this file asks the network team.
{
  "groups": {"group:vendor": ["ann@"]},
  "tagOwners": {"tag:gateway": []}, // by key alone
  "acls": [],
  "grants": [
    // ops
    {"src": ["tag:ops"], "dst": ["tag:gateway"], "ip": ["tcp:22"]}, // for ever
  ],
}
"""


@pytest.mark.requirement("A5")
def test_a_files_comments_stay_and_it_can_be_taken_back(tmp_path: Path) -> None:
    """Without any server: the owner's lines keep their bytes, the mode stays, and `absent` leaves what there was."""
    file = tmp_path / "policy.hujson"
    file.write_text(OWNERS)
    file.chmod(0o640)
    deny = {"src": "bob@", "proto": "tcp", "deny": ["tag:gateway:8554"]}
    wanted = wish({"src": ["group:vendor"], "sites": ["*"], "can": ["view", "approve"]}, tests=[deny])
    before, after = module.apply(module.File(file), None, wanted, dry=True)
    assert (before, file.read_text()) == (OWNERS, OWNERS)
    assert module.apply(module.File(file), None, wanted, dry=False) == (before, after)
    assert file.read_text() == after
    assert file.stat().st_mode & 0o777 == 0o640
    assert [line for line in OWNERS.splitlines() if line not in after.splitlines()] == []
    assert APPROVE in after
    assert module.parse(after)["tests"] == [deny]
    assert module.apply(module.File(file), None, wanted, dry=False) == (after, after)
    gone = module.wish(CAPABILITY, APPROVE, ["tag:gateway"], [], PORTS, [deny], "absent")
    module.apply(module.File(file), None, gone, dry=False)
    assert module.parse(file.read_text()) == module.parse(OWNERS) | {"tests": []}
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.requirement("A5")
def test_a_files_line_ends_stay_and_a_link_stays_one(tmp_path: Path) -> None:
    """A lone return ends no remark for headscale: taken for a line's end, it made a rule of what was switched off."""
    kept, link = tmp_path / "kept.hujson", tmp_path / "policy.hujson"
    off = b'    // off:\r    {"src": ["*"], "dst": ["*"], "ip": ["*"]},\n'
    before = OWNERS.encode().replace(b"\n", b"\r\n").replace(b"    // ops", off + b"    // ops")
    kept.write_bytes(before)
    link.symlink_to(kept)
    module.apply(module.File(link), None, wish({"src": ["group:vendor"], "sites": ["*"]}), dry=False)
    after = kept.read_bytes()
    assert link.is_symlink()
    assert off in after
    assert len(module.parse(after.decode())["grants"]) == 2
    assert [line for line in before.splitlines(keepends=True) if line not in after.splitlines(keepends=True)] == []


@pytest.mark.parametrize(
    "text",
    [
        '{"acls": [], "Grants": []}',
        '{"grants": [{"src": ["bob@"], "A_pp": {}}]}',
        '{"acls": [], "grants": [{"SRC": []}]}',
    ],
)
def test_a_name_that_headscale_reads_and_we_do_not_is_refused(text: str) -> None:
    """It takes them without regard to case, `_` and `-`; a grant spelt so would be overlooked, and stay."""
    with pytest.raises(module.RefusedError, match=r"must be spelt '(grants|app|src)', so that no grant is overlooked"):
        module.parse(text)


@pytest.mark.requirement("A5")
@pytest.mark.parametrize("owners", ['"tagOwners": {"tag:ops": ["ann@"]},', '"tagOwners": null,', ""])
def test_a_gateways_tag_without_an_owner_is_named(tmp_path: Path, owners: str) -> None:
    """headscale says `tag not found` where the file is loaded, which may be tomorrow. The controls: an empty list of
    owners will do, headscale reads the name without regard to case, and what grants nothing asks for no tag."""
    file = tmp_path / "policy.hujson"
    without = OWNERS.replace('"tagOwners": {"tag:gateway": []},', owners)
    file.write_text(without)
    wanted = wish({"src": ["group:vendor"], "sites": ["*"]})
    with pytest.raises(module.RefusedError) as refused:
        module.apply(module.File(file), None, wanted, dry=False)
    assert str(refused.value) == "the policy has no owner for the tag 'tag:gateway': write it into tagOwners"
    assert file.read_text() == without
    gone = module.wish(CAPABILITY, APPROVE, ["tag:gateway"], [], PORTS, [], "absent")
    assert module.apply(module.File(file), None, gone, dry=False) == (without, without)
    for good in ('"tagOwners": {"tag:gateway": []},', '"tag_owners": {"tag:gateway": null},'):
        file.write_text(OWNERS.replace('"tagOwners": {"tag:gateway": []},', good))
        assert CAPABILITY in module.apply(module.File(file), None, wanted, dry=False)[1]


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """In one sentence; a group that the file does not have, too."""
    with pytest.raises(module.RefusedError, match=r"file '.*none' cannot be read"):
        module.apply(module.File(tmp_path / "none"), None, wish(), dry=False)
    file = tmp_path / "policy.hujson"
    file.write_text(OWNERS)
    with pytest.raises(module.RefusedError, match="the policy has no group 'group:staff'"):
        module.apply(module.File(file), None, wish({"src": ["group:staff"], "sites": ["*"]}), dry=False)


def test_says_no_key_when_headscale_refuses_it(served: tuple[type[Server], str], tmp_path: Path) -> None:
    """A refused or malformed key is told by its file's name; the key itself is in no sentence."""
    _, url = served
    file = tmp_path / "key"
    file.write_text("hskey-api-wrong-secret")
    with pytest.raises(module.RefusedError, match="refuses the API key") as refused:
        module.Headscale(url, file).policy()
    assert "secret" not in str(refused.value)
    file.write_text("two words\nX-Evil: secret")
    with pytest.raises(module.RefusedError, match="must hold an API key") as refused:
        module.Headscale(url, file)
    assert "secret" not in str(refused.value)
    with pytest.raises(module.RefusedError, match="cannot be read"):
        module.Headscale(url, tmp_path / "none")


@pytest.mark.requirement("A5")
def test_a_headscale_that_does_not_answer_is_named_with_its_address(key_file: Path) -> None:
    """A wrong port in the inventory is seen in the sentence."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        with pytest.raises(module.RefusedError, match=f"headscale at {url} does not answer to GET policy: "):
            module.Headscale(f"{url}/", key_file).policy()
