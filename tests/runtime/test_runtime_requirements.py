"""Packages that applications ask for: from wheels beside them, once, and into their process."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from harness.errors import Corrupt
from harness.runtime.package import source_files
from harness.runtime.process import Application
from harness.runtime.requirements import installed

if TYPE_CHECKING:
    from pathlib import Path

    from tests.runtime.conftest import Applications


def wheel(directory: Path, name: str, source: str) -> Path:
    """A wheel of one module, as PyPA's binary distribution format has it."""
    directory.mkdir(exist_ok=True)
    path = directory / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(f"{name}.py", source)
        file.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        file.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        file.writestr(f"{info}/RECORD", "")
    return path


def test_they_are_installed_from_the_wheels_once(tmp_path: Path) -> None:
    code, cache = tmp_path / "code", tmp_path / "cache"
    wheel(tmp_path / "code", "unused", "")
    (code / "requirements.txt").write_text("# nothing\n\n")
    assert installed(code, cache) is None
    wheel(code / "wheels", "frobnicator", "VALUE = 42\n")
    (code / "requirements.txt").write_text("frobnicator==1.0\n")
    first = installed(code, cache)
    assert first is not None
    assert (first / "frobnicator.py").read_text() == "VALUE = 42\n"
    (first / "mark").touch()
    assert installed(code, cache) == first
    assert (first / "mark").exists()
    wheel(code / "wheels", "frobnicator", "VALUE = 43\n")
    assert installed(code, cache) != first


def test_what_cannot_be_had_is_said_in_pips_words(tmp_path: Path) -> None:
    wheel(tmp_path / "wheels", "frobnicator", "")
    (tmp_path / "requirements.txt").write_text("no-such-thing-anywhere\n")
    with pytest.raises(Corrupt, match=r"requirements\.txt: ERROR: .*no-such-thing-anywhere"):
        installed(tmp_path, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_code_without_requirements_gets_nothing(tmp_path: Path) -> None:
    assert installed(tmp_path, tmp_path / "cache") is None


def test_they_may_lie_beside_the_source(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src/application.py").write_text("")
    (tmp_path / "requirements.txt").write_text("frobnicator\n")
    made = wheel(tmp_path / "wheels", "frobnicator", "")
    assert source_files(tmp_path / "src") == {
        "panorama/application.py": tmp_path / "src/application.py",
        "panorama/requirements.txt": tmp_path / "requirements.txt",
        f"panorama/wheels/{made.name}": made,
    }


async def test_the_application_imports_them(applications: Applications, tmp_path: Path) -> None:
    code = tmp_path / "code"
    code.mkdir()
    wheel(code / "wheels", "frobnicator", "VALUE = 42\n")
    (code / "requirements.txt").write_text("frobnicator\n")
    app = await applications.start("import frobnicator; print(frobnicator.VALUE)")
    assert await app.end() == 1
    again = Application()
    packages = installed(code, tmp_path / "cache")
    await again.start(replace(app.spec, packages=packages), lambda message: None)
    assert await again.wait() == 0
    assert again.last_lines == ("42",)
