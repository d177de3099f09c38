"""What the lab's doctor says of a machine, and that it is silent of one that is well."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from lab.cli import main
from lab.doctor import Named, Seen, judge

RUNS = Named("one", alive=True, directory=True, processes=40, mounts=0)


def test_nothing_is_said_of_a_machine_that_is_well() -> None:
    """Also with a lab that runs."""
    assert judge(Seen()) == []
    assert judge(Seen(labs=(RUNS,), raised=True)) == []


@pytest.mark.parametrize(
    ("changed", "what", "do"),
    [
        ({"root": False}, "this is not root", "root"),
        ({"tun": False}, "no /dev/net/tun", "modprobe tun"),
        ({"cgroup2": False}, "no cgroup2", "mount"),
        ({"overlay": False}, "no overlay", "modprobe overlay"),
        ({"nft": "Operation not permitted"}, "nftables cannot be used: Operation not permitted", "CAP_NET_ADMIN"),
        ({"tools": ("jq", "socat")}, "tools are missing: jq, socat", "make parts"),
        ({"parts": ("Debian 13",)}, "the cache lacks Debian 13", "make parts"),
        ({"memory": 1 << 30}, "1024 MiB of memory are free, a lab wants 2048 MiB", "other labs"),
        ({"disk": 1 << 30}, "1024 MiB of disk are free", "cache"),
        ({"labs": (dataclasses.replace(RUNS, alive=False),)}, "one is dead and has left its directory, 40 processes",
         "lab down --name one"),
        ({"labs": (Named("two", alive=False, directory=False, processes=0, mounts=0),)}, "has left its cgroup",
         "lab down --name two"),
        ({"unfinished": ("/cache/tmp-base-1",)}, "a build that was killed has left /cache/tmp-base-1", "rm -r"),
        ({"raised": True}, "the inotify limit is still raised", "lab down"),
    ],
    ids=str,
)  # fmt: skip
def test_each_fault_is_one_sentence_with_what_to_do(changed: dict[str, Any], what: str, do: str) -> None:
    """One finding for one fault."""
    (found,) = judge(dataclasses.replace(Seen(), **changed))
    assert what in found.what
    assert do in found.do
    assert found.what.isprintable()


@pytest.mark.parametrize("words", ["11", "12,", "trixie", "12;13"])
def test_another_debian_is_refused(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The option, the rule and the value; nothing is started."""
    with pytest.raises(SystemExit) as ended:
        main(["up", "--debian", words])
    assert ended.value.code == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.endswith(f"argument --debian: must be 12 or 13, or some of them with commas, not {words!r}")
