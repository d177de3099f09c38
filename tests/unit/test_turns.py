"""Tests that measure have the machine for themselves."""

from __future__ import annotations

import threading
from pathlib import Path

from lab import wait
from tests.lab.turns import turn


def test_one_alone_waits_for_those_beside_each_other_and_lets_nobody_pass(tmp_path: Path) -> None:
    """Two run at once; one alone begins when both are over; who comes after that one waits behind it."""
    order: list[str] = []
    goes = {name: threading.Event() for name in ("first", "second", "alone", "later")}

    def take(name: str) -> threading.Thread:
        def hold() -> None:
            with turn(tmp_path, alone=name == "alone"):
                order.append(name)
                goes[name].wait(10)
                order.append(f"{name} ends")

        thread = threading.Thread(target=hold)
        thread.start()
        return thread

    threads = [take("first")]
    wait.until(lambda: order == ["first"], 5, "the first holds it")
    threads.append(take("second"))
    wait.until(lambda: order == ["first", "second"], 5, "the second holds it beside the first")
    threads.append(take("alone"))
    wait.until(lambda: _waits(tmp_path / "machine"), 5, "the one alone waits for the two")
    threads.append(take("later"))
    wait.until(lambda: _waits(tmp_path / "door"), 5, "the later one waits behind it")
    for name in ("first", "second", "alone", "later"):
        goes[name].set()
        wait.until(lambda name=name: f"{name} ends" in order, 5, f"{name} ends")  # type: ignore[misc]
    for thread in threads:
        thread.join(5)
    assert order == ["first", "second", "first ends", "second ends", "alone", "alone ends", "later", "later ends"]


def _waits(file: Path) -> bool:
    """Whether the kernel has somebody waiting for a lock of this file."""
    number = f":{file.stat().st_ino} "
    return any("->" in line and number in line for line in Path("/proc/locks").read_text().splitlines())
