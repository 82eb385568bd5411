"""Packages and their versions: registered from what was uploaded, verified by content."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from harness.cloud.api.error import conflict, not_found, over_quota, validation
from harness.cloud.service.content import Content, sha256
from harness.cloud.service.core import PACKAGE_BUCKET, Answer, Core, Parameters
from harness.cloud.service.state import Package, PackageVersion, version_id

NAME_PREFIX = "packageName/"  # `packageName/<name>` stands for the id of the package
DOCUMENT_BYTES_MAX = 1 << 20  # package.json and descriptors
ASSETS_MAX = 64
_DIGEST = re.compile(r"([0-9a-f]{64})\.[a-z0-9.]+")
_DESCRIPTION_MAX = 255


class Packages:
    def __init__(self, core: Core) -> None:
        self._core = core

    # --- operations ---------------------------------------------------------------------

    def create(self, parameters: Parameters) -> Answer:
        package = self.add(parameters["PackageName"], parameters.get("Tags") or {})
        return {
            "PackageId": package.id,
            "Arn": package.arn,
            "StorageLocation": _location(package),
        }

    def add(self, name: str, tags: Mapping[str, str]) -> Package:
        """A new package. Raises ConflictException when the name is taken."""
        core = self._core
        taken = core.store.package_names.get(name)
        if taken is not None:
            raise conflict("PACKAGE", taken, f"Package {name} exists already.")
        quotas = core.settings.quotas
        if quotas is not None and len(core.store.packages) >= quotas.packages:
            message = f"You've reached the maximum number of {quotas.packages} packages."
            raise over_quota("PACKAGE", name, "node-packages", message)
        identifier = core.new_id("package")
        arn = core.arn(f"package/{identifier}")
        package = Package(identifier, name, arn, core.clock(), dict(tags))
        core.store.packages[identifier] = package
        core.store.package_names[name] = identifier
        return package

    def describe(self, parameters: Parameters) -> Answer:
        package = self.get(parameters["PackageId"])
        return {
            "PackageId": package.id,
            "PackageName": package.name,
            "Arn": package.arn,
            "StorageLocation": _location(package),
            "CreatedTime": package.created_s,
            "Tags": package.tags,
        }

    def describe_version(self, parameters: Parameters) -> Answer:
        package = self.get(parameters["PackageId"])
        version, patch = parameters["PackageVersion"], parameters.get("PatchVersion")
        found = package.find(version, patch)
        if found is None:
            name = f"{package.id}/{version}" + (f"/{patch}" if patch else "")
            raise not_found("PACKAGE_VERSION", name)
        return {
            "OwnerAccount": self._core.account,
            "PackageId": package.id,
            "PackageArn": package.arn,
            "PackageName": package.name,
            "PackageVersion": version,
            "PatchVersion": found.patch,
            "IsLatestPatch": package.latest.get(version) == found.patch,
            "Status": found.status,
            "StatusDescription": found.description or None,
            "RegisteredTime": found.registered_s,
        }

    def register(self, parameters: Parameters) -> Answer:
        """Complete, or FAILED with a description, by the time it answers."""
        package = self.get(parameters["PackageId"])
        version, patch = parameters["PackageVersion"], parameters["PatchVersion"]
        known = package.versions.get(version_id(version, patch))
        if known is None or known.status == "FAILED":
            known = self._read(package, version, patch)
            self.keep(package, known)
        if parameters.get("MarkLatest") and known.status == "REGISTER_COMPLETED":
            package.latest[version] = patch
        return {}

    def keep(self, package: Package, found: PackageVersion) -> None:
        """Add a version; the first good patch of a version is its latest."""
        quotas = self._core.settings.quotas
        key = version_id(found.version, found.patch)
        full = quotas is not None and len(package.versions) >= quotas.versions_per_package
        if full and key not in package.versions:
            message = (
                f"You've reached the maximum number of versions for package {package.name}. "
                "Deregister unused package versions and try again."
            )
            raise conflict("PACKAGE", package.id, message)
        package.versions[key] = found
        if found.status == "REGISTER_COMPLETED" or found.version not in package.latest:
            package.latest.setdefault(found.version, found.patch)
            current = package.find(found.version)
            if current is not None and current.status == "FAILED":
                package.latest[found.version] = found.patch

    # --- lookup -------------------------------------------------------------------------

    def get(self, identifier: str) -> Package:
        """By id, or by `packageName/<name>`."""
        store = self._core.store
        found = identifier
        if identifier.startswith(NAME_PREFIX):
            found = store.package_names.get(identifier.removeprefix(NAME_PREFIX), "")
        package = store.packages.get(found)
        if package is None:
            raise not_found("PACKAGE", identifier)
        return package

    def by_name(self, name: str) -> Package | None:
        """By `<account>::<name>` or `<name>`, as graphs refer to packages."""
        account, separator, plain = name.rpartition("::")
        if separator and account != self._core.account:
            return None
        return self._core.store.packages.get(self._core.store.package_names.get(plain, ""))

    # --- reading what was uploaded ------------------------------------------------------

    def _read(self, package: Package, version: str, patch: str) -> PackageVersion:
        key = f"{_prefix(package)}/manifests/{version}/{patch}.json"
        content = self._core.objects.get(PACKAGE_BUCKET, key)
        if content is None:
            raise validation(
                f"There is no manifest at {key}; upload package.json before registering.",
                [("PatchVersion", "names no uploaded manifest")],
            )
        manifest: Mapping[str, Any] = {}
        assets: tuple[Mapping[str, Any], ...] = ()
        problem = ""
        try:
            manifest = _manifest(content, version)
            assets = tuple(self._assets(package, manifest["nodePackage"]))
        except ValueError as error:
            problem = str(error)[:_DESCRIPTION_MAX]
        status = "FAILED" if problem else "REGISTER_COMPLETED"
        now_s = self._core.clock()
        return PackageVersion(version, patch, now_s, status, problem, manifest, assets)

    def _assets(self, package: Package, node: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        assets = []
        for asset in _objects(node, "assets", "nodePackage"):
            name = asset.get("name")
            for implementation in _objects(asset, "implementations", f"asset {name!r}"):
                if implementation.get("type") == "system":
                    continue  # brought along by the appliance
                assets.append(self._asset(package, str(name), implementation))
        return assets

    def _asset(
        self, package: Package, name: str, implementation: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        key, content, digest = self._verified(package, name, implementation.get("assetUri"))
        descriptor = None
        if implementation.get("descriptorUri") is not None:
            uri = implementation["descriptorUri"]
            descriptor = _document(self._verified(package, name, uri)[1], f"descriptor {uri}")
        return {
            "name": name,
            "type": implementation.get("type"),
            "sha256": digest,
            "size": content.size_bytes,
            "key": key,
            "descriptor": descriptor,
        }

    def _verified(self, package: Package, name: str, uri: object) -> tuple[str, Content, str]:
        """The object a manifest names, its content checked against the SHA-256 in its name."""
        match = _DIGEST.fullmatch(uri) if isinstance(uri, str) else None
        if match is None:
            raise ValueError(f"asset {name!r}: {uri!r} is not named by its SHA-256")
        key = f"{_prefix(package)}/assets/{uri}"
        content = self._core.objects.get(PACKAGE_BUCKET, key)
        if content is None:
            raise ValueError(f"asset {name!r}: {uri} was not uploaded")
        digest = sha256(content)
        if digest != match[1]:
            raise ValueError(f"asset {name!r}: {uri} has content with SHA-256 {digest}")
        return key, content, digest


def _manifest(content: Content, version: str) -> Mapping[str, Any]:
    manifest = _document(content, "package.json")
    node = manifest.get("nodePackage")
    if not isinstance(node, Mapping):
        raise ValueError("package.json has no object 'nodePackage'")
    if node.get("version", version) != version:
        raise ValueError(f"package.json is of version {node.get('version')!r}, not {version!r}")
    for interface in _objects(node, "interfaces", "nodePackage"):
        for key in ("inputs", "outputs"):
            _objects(interface, key, f"interface {interface.get('name')!r}")
    return manifest


def _document(content: Content, what: str) -> Mapping[str, Any]:
    if content.size_bytes > DOCUMENT_BYTES_MAX:
        raise ValueError(f"{what} is larger than {DOCUMENT_BYTES_MAX} bytes")
    try:
        document = json.loads(content.read(0, content.size_bytes))
    except ValueError as error:
        raise ValueError(f"{what} is not JSON: {error}") from None
    if not isinstance(document, Mapping):
        raise ValueError(f"{what} is not a JSON object")
    return document


def _objects(body: Mapping[str, Any], key: str, where: str) -> list[Mapping[str, Any]]:
    items = body.get(key, [])
    if not isinstance(items, list) or len(items) > ASSETS_MAX:
        raise ValueError(f"{where}: {key} is not a list of at most {ASSETS_MAX} objects")
    if not all(isinstance(item, Mapping) for item in items):
        raise ValueError(f"{where}: {key} holds something that is not an object")
    return items


def _prefix(package: Package) -> str:
    return package.id


def _location(package: Package) -> Answer:
    prefix = _prefix(package)
    return {
        "Bucket": PACKAGE_BUCKET,
        "RepoPrefixLocation": prefix,
        "GeneratedPrefixLocation": f"{prefix}/generated",
        "BinaryPrefixLocation": f"{prefix}/assets",
        "ManifestPrefixLocation": f"{prefix}/manifests",
    }
