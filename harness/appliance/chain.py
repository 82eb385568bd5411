"""The chain of trust inside an image: its parts, each verified before the next may run.

Boot ROM, bootloader, trusted execution environment, kernel, then a root that dm-verity guards
(vendor's guide, "Secure boot"). The signed manifest has the hash of every part; they lie one behind
the other in the payload. A part that does not match is not run, and it is named.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.appliance.effect import Digest, Program
from harness.errors import Corrupt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

MANIFEST = "manifest"
# Shares of a payload: of JetPack 4.6's 5.6 GiB the root is nearly all.
_SHARES = (("bootloader", 64), ("tee", 128), ("kernel", 16))
ROOT = "root"
PARTS = (*(name for name, _ in _SHARES), ROOT)
_ALIGN = 512


@dataclass(frozen=True, slots=True)
class Part:
    name: str
    size_bytes: int
    sha256: str


class PartCorrupt(Corrupt):
    """`part` of the image does not match its hash in the signed manifest."""

    def __init__(self, message: str, part: str) -> None:
        super().__init__(message)
        self.part = part


def refused_part(problem: Corrupt) -> str:
    """The part of an image that a problem of verified boot is about."""
    return problem.part if isinstance(problem, PartCorrupt) else MANIFEST


def divide(size_bytes: int, digest: Callable[[int, int], str]) -> tuple[Part, ...]:
    """The parts of a payload; `digest` gives the SHA-256 of (offset, length) of it."""
    sizes = [(name, size_bytes // share // _ALIGN * _ALIGN) for name, share in _SHARES]
    sizes.append((ROOT, size_bytes - sum(size for _, size in sizes)))
    made, offset = [], 0
    for name, size in sizes:
        if size:
            made.append(Part(name, size, digest(offset, size)))
            offset += size
    return tuple(made)


def places(parts: Sequence[Part], at: int) -> Iterator[tuple[Part, int]]:
    """Every part with its offset, of a payload that begins at `at`."""
    for part in parts:
        yield part, at
        at += part.size_bytes


def check(partition: str, parts: Sequence[Part], at: int) -> Program[None]:
    """Verify part by part, in the order in which they run. Raises `PartCorrupt`."""
    for part, offset in places(parts, at):
        digest = yield Digest(partition, offset, part.size_bytes)
        if digest != part.sha256:
            raise PartCorrupt(
                f"{partition}: {part.name} hash {digest[:12]}… is not {part.sha256[:12]}…",
                part.name,
            )
