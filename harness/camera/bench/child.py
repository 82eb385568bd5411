"""Processes of a bench: each on a core of its own, and gone when its block is left."""

from __future__ import annotations

import multiprocessing
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from harness.errors import CapabilityMissing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection

ANSWER_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 5.0


@contextmanager
def child(target: Callable[..., None], core: int, *arguments: Any) -> Iterator[Connection]:
    """`target(pipe, *arguments)` in a process of its own on `core`; the pipe's other end."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_on_core, args=(target, core, theirs, *arguments), daemon=True)
    process.start()
    theirs.close()
    try:
        with ours:
            yield ours
    finally:
        process.join(timeout=STOP_TIMEOUT_S)
        if process.is_alive():
            process.kill()
            process.join()
        process.close()


def _on_core(target: Callable[..., None], core: int, *arguments: Any) -> None:
    os.sched_setaffinity(0, {core})
    target(*arguments)


def receive(pipe: Connection) -> Any:
    """What the child says next. Raises `CapabilityMissing` where it says nothing."""
    try:
        if pipe.poll(ANSWER_TIMEOUT_S):
            return pipe.recv()
    except EOFError as error:
        raise CapabilityMissing(
            "the bench's server process ended early", hint="its message is above"
        ) from error
    raise CapabilityMissing(
        f"the bench's server process gave no answer in {ANSWER_TIMEOUT_S:.0f} s",
        hint="the machine is too busy for a measurement",
    )


@contextmanager
def pinned() -> Iterator[tuple[int, int]]:
    """This process on one core, another core for the server; the same where there is only one."""
    before = os.sched_getaffinity(0)
    cores = sorted(before)
    os.sched_setaffinity(0, {cores[0]})
    try:
        yield cores[0], cores[-1]
    finally:
        os.sched_setaffinity(0, before)
