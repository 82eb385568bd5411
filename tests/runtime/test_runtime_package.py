"""Packing: the same directory gives the same names; assets and patch version follow content."""

from __future__ import annotations

import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest

from harness.appliance.graph import parse, resolve
from harness.errors import InputError
from harness.runtime.package import file_digest, pack, pack_package, patch_version
from harness.runtime.unpack import unpack

PEOPLE_COUNTER = Path(__file__).parents[2] / "fixtures/apps/people-counter"
CODE = "packages/123456789012-people_counter_code-1.0"
MODEL = "packages/123456789012-people_counter_model-1.0"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return Path(shutil.copytree(PEOPLE_COUNTER, tmp_path / "source"))


def implementation(manifest: Any) -> dict[str, str]:
    (asset,) = manifest["nodePackage"]["assets"]
    (entry,) = asset["implementations"]
    assert isinstance(entry, dict)
    return entry


def test_assets_are_named_by_their_content(source: Path, tmp_path: Path) -> None:
    packed = pack(source, tmp_path / "out")
    assert packed.name == "people-counter"
    for package in packed.packages:
        for name, path in package.files.items():
            assert file_digest(path) == name.partition(".")[0]
        entry = implementation(package.manifest)
        assert {entry["assetUri"], entry["descriptorUri"]} == set(package.files)
        assert entry["assetUri"].endswith(".tar.gz")
        assert package.patch == patch_version(package.manifest)
    kinds = [implementation(package.manifest)["type"] for package in packed.packages]
    assert kinds == ["container", "model"]


def test_the_packed_graph_resolves(source: Path, tmp_path: Path) -> None:
    packed = pack(source, tmp_path / "out")
    document = json.loads(json.dumps(packed.graph))
    for node in document["nodeGraph"]["nodes"]:
        node.pop("overrideMandatory", None)
    packages = {package.full_name: package.manifest for package in packed.packages}
    graph = resolve(parse(document), packages)
    assert [model.node for model in graph.models] == ["detector"]
    assert [(p.port, p.value) for p in graph.parameters] == [("threshold", 0.5)]


def test_packing_is_deterministic(source: Path, tmp_path: Path) -> None:
    first = pack(source, tmp_path / "one")
    for path in source.rglob("*"):
        path.touch()
    (source / CODE / "src/__pycache__").mkdir()
    (source / CODE / "src/__pycache__/application.cpython-311.pyc").write_bytes(b"cache")
    second = pack(source, tmp_path / "two")
    assert [p.patch for p in first.packages] == [p.patch for p in second.packages]


def test_a_changed_source_changes_the_patch_version(source: Path, tmp_path: Path) -> None:
    before = pack(source, tmp_path / "one")
    with (source / CODE / "src/application.py").open("a") as file:
        file.write("# changed\n")
    after = pack(source, tmp_path / "two")
    assert before.packages[0].patch != after.packages[0].patch
    assert before.packages[1].patch == after.packages[1].patch


def test_the_container_holds_the_source_below_panorama(source: Path, tmp_path: Path) -> None:
    (source / CODE / "src/lib").mkdir()
    (source / CODE / "src/lib/tool.sh").write_text("#!/bin/sh\n")
    (source / CODE / "src/lib/tool.sh").chmod(0o755)
    code = pack(source, tmp_path / "out").packages[0]
    asset = code.files[implementation(code.manifest)["assetUri"]]
    unpack(asset, tmp_path / "root")
    root = tmp_path / "root/panorama"
    assert (root / "application.py").read_bytes() == (
        source / CODE / "src/application.py"
    ).read_bytes()
    assert (root / "lib/tool.sh").stat().st_mode & 0o111
    with tarfile.open(asset) as tar:
        assert {(m.mtime, m.uid, m.uname) for m in tar} == {(0, 0, "")}


def test_assets_built_by_the_vendors_packager_are_taken_as_they_are(
    source: Path, tmp_path: Path
) -> None:
    first = pack(source, source / "assets")
    for package, directory in zip(first.packages, (CODE, MODEL), strict=True):
        (source / directory / "package.json").write_text(json.dumps(package.manifest))
    shutil.rmtree(source / CODE / "src")
    second = pack(source, tmp_path / "out")
    assert [p.patch for p in first.packages] == [p.patch for p in second.packages]
    assert list((tmp_path / "out").iterdir()) == []

    damaged = next(iter(first.packages[1].files.values()))
    damaged.write_bytes(b"damaged")
    with pytest.raises(InputError, match="does not match the SHA-256 in its name"):
        pack(source, tmp_path / "out")
    damaged.unlink()
    with pytest.raises(InputError, match="is not there"):
        pack(source, tmp_path / "out")


def break_json(source: Path) -> None:
    (source / CODE / "package.json").write_text('{"nodePackage": \n oops}')


def drop_interfaces(source: Path) -> None:
    (source / CODE / "package.json").write_text('{"nodePackage": {}}')


def drop_asset_name(source: Path) -> None:
    text = (source / CODE / "package.json").read_text()
    (source / CODE / "package.json").write_text(text.replace('"asset":', '"asset_":'))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (break_json, r"package\.json:2:2: "),
        (drop_interfaces, "no nodePackage with interfaces"),
        (drop_asset_name, "interface 'interface' has no asset"),
        (lambda s: shutil.rmtree(s / "graphs"), "0 graphs found"),
        (lambda s: shutil.rmtree(s / CODE / "src"), "src: missing"),
        (lambda s: (s / MODEL / "model.onnx").unlink(), r"model\.onnx: missing"),
        (lambda s: (s / CODE / "descriptor.json").unlink(), r"descriptor\.json: no such file"),
        (lambda s: (s / MODEL / "descriptor.json").write_text("[]"), "not a JSON object"),
        (lambda s: (s / MODEL).rename(s / "packages/model"), "not a package directory name"),
    ],
)
def test_what_is_wrong_is_named(source: Path, tmp_path: Path, spoil: Any, message: str) -> None:
    spoil(source)
    with pytest.raises(InputError, match=message) as caught:
        pack(source, tmp_path / "out")
    assert caught.value.hint


def test_code_may_lie_beside_its_package_json(tmp_path: Path) -> None:
    package = tmp_path / "123456789012-code-1.0"
    (package / "assets").mkdir(parents=True)
    (package / "lib").mkdir()
    for name in ("application.py", "lib/more.py", "classes.json", "Dockerfile", "assets/old.gz"):
        (package / name).write_text("")
    (package / "descriptor.json").write_text("{}")
    (package / "package.json").write_text(
        '{"nodePackage": {"interfaces": '
        '[{"category": "business_logic", "asset": "a", "name": "i"}]}}'
    )
    packed = pack_package(package, tmp_path, tmp_path / "assets")
    (archive,) = (path for name, path in packed.files.items() if name.endswith(".tar.gz"))
    with tarfile.open(archive) as tar:
        assert {one.name for one in tar.getmembers() if one.isfile()} == {
            *("panorama/application.py", "panorama/lib/more.py", "panorama/classes.json"),
        }
