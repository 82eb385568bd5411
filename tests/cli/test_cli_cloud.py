"""`harness cloud`: the model where botocore looks, OpenAPI and the page on stdout."""

from __future__ import annotations

import json
from pathlib import Path

import botocore.loaders
import pytest

from harness.cli.app import run

PLACE = Path("panorama/2019-07-24/service-2.json")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_install_puts_the_model_where_botocore_looks(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["cloud", "install-model"]) == 0
    out, err = capsys.readouterr()
    path = home / ".aws/models" / PLACE
    assert out == f"{path}\n"
    assert "written: 34 operations, 237 shapes" in err
    assert "AWS_ENDPOINT_URL" in err
    loader = botocore.loaders.Loader(
        extra_search_paths=[str(home / ".aws/models")], include_default_search_paths=False
    )
    assert loader.list_available_services("service-2") == ["panorama"]
    assert len(loader.load_service_model("panorama", "service-2")["operations"]) == 34
    assert [entry.name for entry in path.parent.iterdir()] == ["service-2.json"]


def test_install_into_a_folder_says_how_to_name_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "models"
    assert run(["cloud", "install-model", "--directory", str(folder)]) == 0
    assert f"export AWS_DATA_PATH={folder}" in capsys.readouterr().err
    assert (folder / PLACE).exists()


def test_install_again_changes_nothing_and_renews_what_is_old(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = home / ".aws/models" / PLACE
    run(["cloud", "install-model"])
    whole = path.read_text(encoding="utf-8")
    assert run(["cloud", "install-model"]) == 0
    assert "up to date" in capsys.readouterr().err
    path.write_text(whole.replace("AccessDenied", "Denied"), encoding="utf-8")
    assert run(["cloud", "install-model"]) == 0
    assert "replaced" in capsys.readouterr().err
    assert path.read_text(encoding="utf-8") == whole


def test_install_leaves_a_model_of_somebody_else(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = home / ".aws/models" / PLACE
    path.parent.mkdir(parents=True)
    path.write_text("{}", encoding="utf-8")
    assert run(["cloud", "install-model"]) == 2
    assert "--force" in capsys.readouterr().err
    assert path.read_text(encoding="utf-8") == "{}"
    assert run(["cloud", "install-model", "--force"]) == 0
    assert len(json.loads(path.read_text(encoding="utf-8"))["operations"]) == 34


def test_openapi_and_reference_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["cloud", "openapi", "--url", "http://127.0.0.1:9"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["servers"] == [{"url": "http://127.0.0.1:9"}]
    assert run(["cloud", "reference"]) == 0
    assert capsys.readouterr().out.startswith("# The service API\n")
