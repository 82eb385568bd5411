"""A USB stick: a FAT32 file system of a size, in one of the appliance's two ports.

Rules and limits are those of Microsoft's "FAT: General Overview of On-Disk Format" (names, 4 GiB
a file, clusters), and of the vendor's guide: FAT32, 1 to 32 GB, in the USB 3.0 port.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from harness.errors import Corrupt, StorageFull, StorageReadOnly

if TYPE_CHECKING:
    from collections.abc import Mapping

GB = 1_000_000_000
SIZE_MIN_BYTES, SIZE_MAX_BYTES = GB, 32 * GB
FORMAT = "FAT32"
PORT = "3.0"
FILE_BYTES_MAX = (1 << 32) - 1
NAME_MAX = 255
_FORBIDDEN = frozenset('"*:<>?\\|') | {chr(code) for code in range(32)}
# Clusters that Windows formats with: up to so many bytes, so large.
_CLUSTERS = ((8 << 30, 4096), (16 << 30, 8192), (32 << 30, 16384))


@dataclass(slots=True)
class Stick:
    """What is on it, by path; a folder that is empty ends in a slash. `used_bytes` is the rest."""

    files: dict[str, bytes] = field(default_factory=dict)
    size_bytes: int = 8 * GB
    format: str = FORMAT
    port: str = PORT
    read_only: bool = False
    used_bytes: int = 0

    def copy(self) -> Stick:
        return replace(self, files=dict(self.files))

    def look(self) -> Mapping[str, bytes]:
        """What an appliance reads. Raises `Corrupt` naming why it cannot use the stick."""
        if self.port != PORT:
            raise Corrupt(
                f"USB stick in the {self.port} port: not recognised",
                hint=f"plug it into the {PORT} port",
            )
        if self.format != FORMAT:
            raise Corrupt(f"USB stick: formatted {self.format}", hint=f"format it {FORMAT}")
        if not SIZE_MIN_BYTES <= self.size_bytes <= SIZE_MAX_BYTES:
            size = f"{self.size_bytes / GB:g} GB"
            raise Corrupt(f"USB stick of {size}", hint="use one of 1 to 32 GB")
        return dict(self.files)

    def write(self, name: str, data: bytes) -> None:
        """Put a file there, whole or not at all; names differ in more than case.

        Raises `Corrupt` (the stick or the name), `StorageReadOnly`, `StorageFull`.
        """
        self.look()
        _check_name(name)
        if self.read_only:
            raise StorageReadOnly("USB stick: write-protected")
        kept = {path: held for path, held in self.files.items() if path.lower() != name.lower()}
        kept[name] = data
        if len(data) > FILE_BYTES_MAX or self._taken(kept) > self.capacity_bytes:
            raise StorageFull(f"USB stick: no room for {name}, {len(data)} bytes")
        self.files = kept

    @property
    def cluster_bytes(self) -> int:
        return next((size for most, size in _CLUSTERS if self.size_bytes <= most), 32768)

    @property
    def capacity_bytes(self) -> int:
        """For files and folders: less the reserved sectors and both copies of the table."""
        clusters = (self.size_bytes - 32 * 512) // (self.cluster_bytes + 2 * 4)
        return clusters * self.cluster_bytes

    def _taken(self, files: Mapping[str, bytes]) -> int:
        folders = {
            "/".join(parts[:depth]).lower()
            for parts in (path.split("/") for path in files)
            for depth in range(len(parts))
        }
        held = sum(-(-len(data) // self.cluster_bytes) for data in files.values())
        return self.used_bytes + (held + len(folders)) * self.cluster_bytes


def _check_name(path: str) -> None:
    for part in path.split("/"):
        if not part or len(part) > NAME_MAX or _FORBIDDEN & set(part) or part[-1] in " .":
            raise Corrupt(f"USB stick: {FORMAT} has no file named {path!r}")


def with_archive(name: str, archive: bytes) -> Stick:
    """What an operator prepares: the archive that provisions device `name`, as it came."""
    return Stick({f"certificates-omni_{name}.zip": archive})


def for_logs() -> Stick:
    """One that asks for a log image at power-on."""
    return Stick({"panorama/managed_logs/": b""})
