"""Application directories in the packager's layout -> assets named by their SHA-256.

`graphs/<app>/graph.json`, `packages/<account>-<name>-<version>/{package.json, descriptor.json}`
with `src/` beside it (code: becomes `/panorama`) or `model.onnx`, `.pt`, `.pth` (model), and
`assets/` with what the vendor's own packager built before: an asset that package.json already
names there is taken as it is. Packing is deterministic: same files, same bytes, same names, same
patch versions.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.errors import InputError
from harness.record.canonical import digest
from harness.runtime.session import SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_DIRECTORY = re.compile(r"(?P<account>[0-9]{12})-(?P<name>.+)-(?P<version>[0-9]+\.[0-9]+)")
_ASSET_TYPES = {"business_logic": "container", "ml_model": "model"}
_OF_THE_PACKAGE = frozenset(("package.json", "descriptor.json", "Dockerfile"))
JSON_BYTES_MAX = 1 << 20
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class PackedPackage:
    """A package ready to be registered.

    `manifest` is package.json with `assetUri` and `descriptorUri` filled; `files` maps those
    names (`<sha256>.tar.gz`, `<sha256>.json`) to files on disk; `patch` is the patch version.
    """

    account: str
    name: str
    version: str
    patch: str
    manifest: Mapping[str, Any]
    files: Mapping[str, Path]

    @property
    def full_name(self) -> str:
        """`<account>::<name>`, as graphs refer to it."""
        return f"{self.account}::{self.name}"


@dataclass(frozen=True, slots=True)
class PackedApplication:
    """An application: its graph document and the packages it brings along."""

    name: str
    graph: Mapping[str, Any]
    packages: tuple[PackedPackage, ...]


def pack(directory: Path, target: Path) -> PackedApplication:
    """Pack the application in `directory`, writing its assets into the directory `target`.

    Raises `InputError` naming the file that is missing or wrong.
    """
    graphs = sorted(directory.glob("graphs/*/graph.json"))
    if len(graphs) != 1:
        raise InputError(
            f"{directory}: {len(graphs)} graphs found",
            hint="an application directory holds exactly one graphs/<application>/graph.json",
        )
    found = sorted(path.parent for path in directory.glob("packages/*/package.json"))
    target.mkdir(parents=True, exist_ok=True)
    packages = tuple(pack_package(path, target, directory / "assets") for path in found)
    return PackedApplication(graphs[0].parent.name, read_json(graphs[0]), packages)


def pack_package(directory: Path, target: Path, prebuilt: Path) -> PackedPackage:
    """Pack one package directory; `prebuilt` is where the vendor's packager left its assets."""
    match = _DIRECTORY.fullmatch(directory.name)
    if match is None:
        raise InputError(
            f"{directory}: not a package directory name",
            hint="packages are named <12-digit account>-<name>-<major>.<minor>",
        )
    manifest = read_json(directory / "package.json")
    body = manifest.get("nodePackage")
    if not isinstance(body, dict) or not isinstance(body.get("interfaces"), list):
        raise InputError(
            f"{directory / 'package.json'}: no nodePackage with interfaces",
            hint='{"nodePackage": {"envelopeVersion": "2021-01-01", "interfaces": [...]}}',
        )
    assets, files = _assets(directory, body, target, prebuilt)
    filled = {**manifest, "nodePackage": {**body, "assets": assets}}
    return PackedPackage(
        match["account"], match["name"], match["version"], patch_version(filled), filled, files
    )


def patch_version(manifest: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical package.json: it names its assets by hash, so it covers them."""
    return digest(manifest)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file. Raises `InputError` naming file, line and column."""
    try:
        if path.stat().st_size > JSON_BYTES_MAX:
            raise InputError(f"{path}: over {JSON_BYTES_MAX} bytes", hint="is this the right file?")
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file", hint=f"add {path.name}") from None
    except json.JSONDecodeError as error:
        where = f"{path}:{error.lineno}:{error.colno}"
        raise InputError(f"{where}: {error.msg}", hint="the file must be JSON") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: {error.reason}", hint="the file must be UTF-8") from None
    if not isinstance(value, dict):
        raise InputError(f"{path}: not a JSON object", hint="the file must hold one object")
    return value


def _assets(
    directory: Path, body: Mapping[str, Any], target: Path, prebuilt: Path
) -> tuple[list[dict[str, Any]], dict[str, Path]]:
    """The package's `assets` entries, built where they are not yet, and the files behind them."""
    entries: list[dict[str, Any]] = []
    files: dict[str, Path] = {}
    known = {asset.get("name"): asset for asset in body.get("assets", ())}
    for interface in body["interfaces"]:
        kind = _ASSET_TYPES.get(interface.get("category", ""))
        name = interface.get("asset")
        if kind is None or name in {entry["name"] for entry in entries}:
            continue
        if not isinstance(name, str) or not name:
            raise InputError(
                f"{directory / 'package.json'}: interface {interface.get('name')!r} has no asset",
                hint=f"name the {kind} asset that implements it",
            )
        built = _prebuilt(known.get(name), prebuilt)
        if built is None:
            implementation, built = _build(directory, kind, target)
            entry = {"name": name, "implementations": [implementation]}
        else:
            entry = known[name]
        entries.append(entry)
        files.update(built)
    return entries, files


def _prebuilt(entry: Mapping[str, Any] | None, prebuilt: Path) -> dict[str, Path] | None:
    """Files of an asset that package.json names already; None when there is one to build."""
    files = {}
    for implementation in (entry or {}).get("implementations", ()):
        uris = (implementation.get("assetUri"), implementation.get("descriptorUri"))
        for uri in (uri for uri in uris if uri):
            path = prebuilt / uri
            if "/" in uri or not path.is_file():
                raise InputError(
                    f"{path}: package.json names this asset and it is not there",
                    hint="build it again, or empty `assets` in package.json to have it built here",
                )
            if file_digest(path) != uri.partition(".")[0]:
                raise InputError(
                    f"{path}: content does not match the SHA-256 in its name",
                    hint="the file was changed or damaged: build it again",
                )
            files[uri] = path
    return files or None


def _build(directory: Path, kind: str, target: Path) -> tuple[dict[str, Any], dict[str, Path]]:
    """Build an asset from `src/` or `model.*`: its `implementations` entry and its files."""
    source = _code(directory) if kind == "container" else _model(directory)
    if not source.exists():
        raise InputError(f"{source}: missing", hint=f"the {kind} asset is built from it")
    descriptor = directory / "descriptor.json"
    read_json(descriptor)
    content = source_files(source) if kind == "container" else {source.name: source}
    asset = _store(archive(content), ".tar.gz", target)
    described = _store(descriptor.read_bytes(), ".json", target)
    implementation = {"type": kind, "assetUri": asset.name, "descriptorUri": described.name}
    return implementation, {asset.name: asset, described.name: described}


def _code(directory: Path) -> Path:
    """`src/`; where there is none but code beside package.json, that is the source."""
    source = directory / "src"
    bare = not source.exists() and any(directory.glob("*.py"))
    return directory if bare else source


def _model(directory: Path) -> Path:
    """`model.onnx`, or TorchScript under one of its suffixes; the former where there is none."""
    names = [directory / f"model{suffix}" for suffix in SUFFIXES]
    return next((path for path in names if path.is_file()), names[0])


def source_files(source: Path) -> dict[str, Path]:
    """What of `src/` goes into the container's `/panorama`: all but caches and Dockerfile.

    `requirements.txt` and `wheels/` may lie beside it, as a Dockerfile would use them.
    """
    if (source / "package.json").is_file():
        return _beside_package(source)
    beside = {
        f"panorama/{path.relative_to(source.parent).as_posix()}": path
        for path in (source.parent / "requirements.txt", *source.parent.glob("wheels/*.whl"))
        if path.is_file()
    }
    return beside | {
        f"panorama/{path.relative_to(source).as_posix()}": path
        for path in sorted(source.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts and path.name != "Dockerfile"
    }


def _beside_package(directory: Path) -> dict[str, Path]:
    """Code that lies in the package's directory itself, as older packages have it."""
    return {
        f"panorama/{path.relative_to(directory).as_posix()}": path
        for path in sorted(directory.rglob("*"))
        if path.is_file()
        and "__pycache__" not in path.parts
        and path.parent.name != "assets"
        and path.name not in _OF_THE_PACKAGE
    }


def archive(content: Mapping[str, Path]) -> bytes:
    """A tar.gz of `content` (name in the archive -> file) without time, owner or order in it."""
    buffer = io.BytesIO()
    with (
        gzip.GzipFile("", "wb", compresslevel=6, fileobj=buffer, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for name in sorted({*_parents(content)}):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        for name, path in sorted(content.items()):
            entry = tarfile.TarInfo(name)
            entry.size = path.stat().st_size
            entry.mode = 0o755 if path.stat().st_mode & 0o100 else 0o644
            with path.open("rb") as file:
                tar.addfile(entry, file)
    return buffer.getvalue()


def _parents(content: Mapping[str, Path]) -> Iterator[str]:
    for name in content:
        parts = name.split("/")[:-1]
        yield from ("/".join(parts[: depth + 1]) for depth in range(len(parts)))


def _store(data: bytes, suffix: str, target: Path) -> Path:
    path = target / f"{hashlib.sha256(data).hexdigest()}{suffix}"
    path.write_bytes(data)
    return path


def file_digest(path: Path) -> str:
    """SHA-256 (hex) of a file, read in bounded pieces."""
    hasher = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            hasher.update(chunk)
    return hasher.hexdigest()
