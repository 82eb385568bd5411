"""Networks by name: published descriptors, and others derived from them.

`networks.json` holds per-layer work, `derived.json` networks that are scaled copies of those or
rebuilt from what is known of their shape; each says so in `origin`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from harness.calibration.supplement import supplement
from harness.errors import InputError
from harness.jetson.network import Layer, Network, scaled

if TYPE_CHECKING:
    from collections.abc import Iterable

FOLDER = "performance"
_SIZE = re.compile(r"[0-9]+x[0-9]+")
_NOTE = re.compile(r"\([^)]*\)")


class LayerRow(msgspec.Struct, frozen=True, omit_defaults=True):
    """A layer as files write it; the names are those of the published descriptors."""

    t: str
    macs: float
    inp: float
    out: float
    w: float
    g: float
    cin: float
    cout: float
    k: float
    res: list[int]
    n: int = 1

    def layer(self) -> Layer:
        return Layer(
            self.t, self.macs, self.inp, self.out, self.w,
            self.g, self.cin, self.cout, self.k, self.n,
        )  # fmt: skip


class NetworkRow(msgspec.Struct, frozen=True, omit_defaults=True):
    """A network as files write it, with totals for people."""

    model: str
    h: int
    w: int
    gmacs: float
    gflops: float
    dw_gmacs: float
    params_m: float
    act_melem: float
    n_kernels: int
    n_conv: int
    note: str
    layers: list[LayerRow]

    def network(self) -> Network:
        layers = tuple(layer.layer() for layer in self.layers)
        return Network(self.model, f"{self.h}x{self.w}", layers, self.note)


class DerivedRow(msgspec.Struct, frozen=True):
    origin: str
    like: str = ""
    width: float = 1.0
    layers: list[LayerRow] = []


def performance_folder() -> Path:
    """Where the shipped data of the performance model is: in the checkout or in the package."""
    package = Path(__file__).resolve().parent.parent
    for root in (package.parent, package):
        folder = root / "device_profiles" / FOLDER
        if folder.is_dir():
            return folder
    raise InputError("the data of the performance model is missing", hint="install harness again")


def read_network(path: Path) -> Network:
    """One descriptor, as `harness jetson describe` writes it. Raises `InputError`."""
    try:
        row = msgspec.json.decode(path.read_bytes(), type=NetworkRow)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}", hint="give a descriptor file") from error
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise InputError(
            f"{path}: {error}", hint="`harness jetson describe` writes descriptors"
        ) from error
    return row.network()


class NetworkLibrary:
    """All networks known by name, and how near another name or size comes to one of them."""

    def __init__(self, networks: Iterable[Network]) -> None:
        self.by_key = {network.key: network for network in networks}

    @classmethod
    def read(cls, folder: Path) -> NetworkLibrary:
        published = msgspec.json.decode(
            (folder / "networks.json").read_bytes(), type=dict[str, NetworkRow]
        )
        derived = msgspec.json.decode(
            (folder / "derived.json").read_bytes(), type=dict[str, DerivedRow]
        )
        known = {key: _published(key, row) for key, row in published.items()}
        for key, row in derived.items():
            known[key] = _derived(key, row, known)
        return cls(known.values())

    def names(self) -> tuple[str, ...]:
        return tuple(sorted({network.name for network in self.by_key.values()}))

    def find(self, name: str, size: str = "") -> Network | None:
        """The network at that input size; at another size, scaled; None when not known.

        A note in brackets that is not part of a known name is dropped.
        """
        return self._find(name, size) or self._find(_NOTE.sub("", name).strip(), size)

    def _find(self, name: str, size: str) -> Network | None:
        if f"{name}@{size}" in self.by_key:
            return self.by_key[f"{name}@{size}"]
        others = [network for network in self.by_key.values() if network.name == name]
        if not others:
            return None
        if not size or not _SIZE.fullmatch(size) or not _SIZE.fullmatch(others[0].size):
            return others[0]
        origin = f"scaled from {others[0].key}"
        return scaled(others[0], f"{name}@{size}", origin=origin)


def _published(key: str, row: NetworkRow) -> Network:
    name, _, size = key.rpartition("@")
    layers = tuple(layer.layer() for layer in row.layers)
    return Network(name, size, (*layers, *supplement(name, layers)), row.note)


def _derived(key: str, row: DerivedRow, known: dict[str, Network]) -> Network:
    if row.like:
        return scaled(known[row.like], key, width=row.width, origin=row.origin)
    name, _, size = key.rpartition("@")
    return Network(name, size, tuple(layer.layer() for layer in row.layers), row.origin)
