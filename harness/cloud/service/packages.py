"""Packages and their versions: registered from what was uploaded, verified by content."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from harness.cloud.api.error import conflict, not_found, validation
from harness.cloud.service.content import Content, sha256
from harness.cloud.service.core import PACKAGE_BUCKET, Answer, Core, Parameters
from harness.cloud.service.paging import by_creation, page
from harness.cloud.service.quota import full
from harness.cloud.service.state import DEPLOYING, Package, PackageVersion, version_id

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
            message = f"Package {name} exists already."
            raise conflict("PACKAGE", taken, message, "PackageNameTaken", PackageName=name)
        most = core.settings.quotas.packages
        if full(len(core.store.packages), most):  # no operation here declares the quota error
            message = f"You've reached the maximum number of {most} packages."
            raise conflict("PACKAGE", name, message, "TooManyPackages")
        identifier = core.new_id("package")
        arn = core.arn(f"package/{identifier}")
        package = Package(identifier, name, arn, core.clock(), dict(tags))
        core.store.packages[identifier] = package
        core.store.package_names[name] = identifier
        return package

    def describe(self, parameters: Parameters) -> Answer:
        package = self.get(parameters["PackageId"])
        return {**_summary(package), "StorageLocation": _location(package)}

    def list(self, parameters: Parameters) -> Answer:
        packages = self._core.store.packages.values()
        shown, token = page(self._core, "ListPackages", parameters, packages, by_creation, _summary)
        return {"Packages": shown, "NextToken": token}

    def delete(self, parameters: Parameters) -> Answer:
        """Deletes a package that is empty; with ForceDelete also its versions and its files.

        What devices have installed stays there, and credentials of a camera are kept. Only a
        deployment that may still have to fetch its files is in the way.
        """
        package = self.get(parameters["PackageId"])
        self._refuse_deploying(package, None)
        keys = self._core.objects.keys(PACKAGE_BUCKET, f"{package.id}/")
        if (keys or package.versions) and not parameters.get("ForceDelete"):
            message = (
                f"Package {package.name} has {len(package.versions)} versions and {len(keys)} "
                "files; ForceDelete deletes them, too."
            )
            raise conflict("PACKAGE", package.id, message, "PackageNotEmpty")
        for key in keys:
            self._core.objects.remove(PACKAGE_BUCKET, key)
        del self._core.store.packages[package.id]
        del self._core.store.package_names[package.name]
        return {}

    def describe_version(self, parameters: Parameters) -> Answer:
        package = self.get(parameters["PackageId"])
        self._check_owner(parameters)
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
        self._check_owner(parameters)
        version, patch = parameters["PackageVersion"], parameters["PatchVersion"]
        self.take(package, version, patch, latest=bool(parameters.get("MarkLatest")))
        return {}

    def take(self, package: Package, version: str, patch: str, *, latest: bool) -> str:
        """Make a version of what was uploaded. Outcome: why it is FAILED, empty when it is not."""
        known = package.versions.get(version_id(version, patch))
        if known is None or known.status == "FAILED":
            known = self._read(package, version, patch)
            self.keep(package, known)
        if latest and known.status == "REGISTER_COMPLETED":
            package.latest[version] = patch
        return known.description

    def deregister(self, parameters: Parameters) -> Answer:
        """Forgets one patch of a version; its files stay, other patches may need them."""
        package = self.get(parameters["PackageId"])
        self._check_owner(parameters)
        version, patch = parameters["PackageVersion"], parameters["PatchVersion"]
        if version_id(version, patch) not in package.versions:
            raise not_found("PACKAGE_VERSION", f"{package.id}/{version}/{patch}")
        self._refuse_deploying(package, (version, patch))
        successor = parameters.get("UpdatedLatestPatchVersion")
        if successor is not None:
            self._check_successor(package, version, patch, successor)
        self.drop(package, version, patch)
        if successor is not None:
            package.latest[version] = successor
        return {}

    def drop(self, package: Package, version: str, patch: str) -> None:
        """Forget a patch; was it the latest of its version, the newest good one left is."""
        del package.versions[version_id(version, patch)]
        if package.latest.get(version) != patch:
            return
        del package.latest[version]
        left = [found for found in package.versions.values() if found.version == version]
        good = [found for found in left if found.status == "REGISTER_COMPLETED"]
        if left:
            package.latest[version] = (good or left)[-1].patch

    def _check_owner(self, parameters: Parameters) -> None:
        owner = parameters.get("OwnerAccount", self._core.account)
        if owner != self._core.account:
            raise not_found("PACKAGE", f"{parameters['PackageId']} of account {owner}")

    def _check_successor(self, package: Package, version: str, patch: str, successor: str) -> None:
        found = package.find(version, successor)
        if successor == patch or found is None or found.status != "REGISTER_COMPLETED":
            name = "UpdatedLatestPatchVersion"
            message = f"{successor} is no other registered patch of {package.name} {version}."
            raise validation(message, [(name, "is not another registered patch version")])

    def _refuse_deploying(self, package: Package, wanted: tuple[str, str] | None) -> None:
        """Raises ConflictException while a deployment has not got all its files yet."""
        for instance in self._core.store.instances.values():
            for node in instance.nodes if instance.status in DEPLOYING else ():
                used = (
                    package.find(node.version, node.patch) if node.package == package.name else None
                )
                if (
                    used is None
                    or not used.assets
                    or wanted not in (None, (used.version, used.patch))
                ):
                    continue
                message = f"Application instance {instance.id} is being deployed from it."
                raise conflict(
                    "PACKAGE", package.id, message, "PackageInUse",
                    ApplicationInstanceId=instance.id,
                )  # fmt: skip

    def keep(self, package: Package, found: PackageVersion) -> None:
        """Add a version; the first good patch of a version is its latest."""
        key = version_id(found.version, found.patch)
        most = self._core.settings.quotas.versions_per_package
        if key not in package.versions and full(len(package.versions), most):
            message = (
                f"You've reached the maximum number of versions for package {package.name}. "
                "Deregister unused package versions and try again."
            )
            raise conflict("PACKAGE", package.id, message, "TooManyPackageVersions")
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
        key = manifest_key(package.id, version, patch)
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

    def _assets(self, package: Package, node: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
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
        key = asset_key(package.id, str(uri))
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


def manifest_key(package: str, version: str, patch: str) -> str:
    """Where package.json of a patch is uploaded to; `package` is an id."""
    return f"{package}/manifests/{version}/{patch}.json"


def asset_key(package: str, file: str) -> str:
    return f"{package}/assets/{file}"


def package_tags(job_tags: Iterable[Mapping[str, Any]] | None) -> dict[str, str]:
    """Of the JobTags of a job, those for the package that it makes."""
    made: dict[str, str] = {}
    for entry in job_tags or ():
        if entry["ResourceType"] == "PACKAGE":
            made |= entry["Tags"]
    return made


def _summary(package: Package) -> Answer:
    return {
        "PackageId": package.id,
        "PackageName": package.name,
        "Arn": package.arn,
        "CreatedTime": package.created_s,
        "Tags": package.tags,
    }


def _location(package: Package) -> Answer:
    prefix = package.id
    return {
        "Bucket": PACKAGE_BUCKET,
        "RepoPrefixLocation": prefix,
        "GeneratedPrefixLocation": f"{prefix}/generated",
        "BinaryPrefixLocation": f"{prefix}/assets",
        "ManifestPrefixLocation": f"{prefix}/manifests",
    }
