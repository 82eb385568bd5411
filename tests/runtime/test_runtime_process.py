"""Processes: every way an application can end, and that nothing of it is left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness.errors import CapabilityMissing, Corrupt, EngineError
from harness.runtime.console import BYTES_MAX
from harness.runtime.process import Application

if TYPE_CHECKING:
    from tests.runtime.conftest import Applications

READY = "print('ready', flush=True)\n"


def open_files() -> set[str]:
    return {os.readlink(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd") if _is_open(n)}


def _is_open(number: str) -> bool:
    return os.path.lexists(f"/proc/self/fd/{number}")


async def until(condition: Any) -> None:
    """Poll: for states of other processes, which nobody announces."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


async def test_an_application_that_ends_gives_its_exit_code(applications: Applications) -> None:
    app = await applications.start("raise SystemExit(7)")
    assert await app.end() == 7
    assert not alive(app.application.pid)


async def test_a_crash_at_import_leaves_the_last_line_of_the_traceback(
    applications: Applications,
) -> None:
    app = await applications.start("import panoramasdk\nimport no_such_module\n")
    assert await app.end() == 1
    assert app.application.error_line == ("ModuleNotFoundError: No module named 'no_such_module'")
    log = (app.spec.logs / "console_output.log").read_text()
    assert "Traceback" in log


async def test_the_environment_is_the_containers(
    applications: Applications, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not for applications")
    app = await applications.start(
        """
        import json, os, sys
        print(json.dumps([sorted(os.environ), os.environ["AWS_REGION"], sys.argv]))
        """
    )
    assert await app.end() == 0
    ((names, region, argv),) = app.said
    assert set(names) <= {
        *("PATH", "HOME", "LANG", "LC_CTYPE", "AWS_REGION", "PYTHONPATH", "PYTHONUNBUFFERED"),
        *("HARNESS_APPLICATION_FILES", "AWS_EC2_METADATA_DISABLED"),
    }
    assert region == "eu-west-1"
    assert argv[0].endswith("/panorama/application.py")


async def test_the_application_sees_the_appliances_paths(applications: Applications) -> None:
    app = await applications.start(
        """
        import json, os
        open("/opt/aws/panorama/storage/kept", "w").write("state")
        open("/opt/aws/panorama/logs/app.log", "w").write("line")
        print(json.dumps([os.getcwd(), os.listdir("/panorama")]))
        """
    )
    code = await app.end()
    if "are not mapped" in app.application.last_lines[0]:
        pytest.skip("no mount namespaces on this machine")
    assert code == 0
    assert app.said == [["/", ["application.py"]]]
    assert (app.spec.storage / "kept").read_text() == "state"
    assert (app.spec.logs / "code/app.log").read_text() == "line"


async def test_storage_survives_a_restart_of_the_application(applications: Applications) -> None:
    app = await applications.start("print('one')")
    await app.end()
    (app.spec.storage / "kept").write_text("state")
    again = Application()
    await again.start(app.spec, lambda message: None)
    assert await again.wait() == 0
    assert (app.spec.storage / "kept").read_text() == "state"
    assert (app.spec.logs / "console_output.log").read_text().count("one") == 2


async def test_where_namespaces_are_not_allowed_the_entry_still_runs(tmp_path: Path) -> None:
    (tmp_path / "root/panorama").mkdir(parents=True)
    (tmp_path / "root/panorama/application.py").write_text("import os; print(os.getcwd())")
    script = Path(sys.modules["harness.runtime.process"].__file__ or "").parent / "launch.py"
    command = [sys.executable, "-I", str(script), str(os.getpid()), str(tmp_path / "root")]
    command += [str(tmp_path / "missing"), str(tmp_path)]
    command += [sys.executable, "/panorama/application.py"]
    done = await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, timeout=10, check=True
    )
    assert done.stdout.strip() == str(tmp_path / "root")
    assert "are not mapped" in done.stderr


async def test_sigterm_ends_an_application(applications: Applications) -> None:
    app = await applications.start(READY + "import time\ntime.sleep(60)\n")
    await until(lambda: "ready" in app.application.last_lines)
    assert await app.application.stop(grace_s=10) == -signal.SIGTERM


async def test_one_that_ignores_sigterm_is_killed(applications: Applications) -> None:
    app = await applications.start(
        "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        + READY
        + "while True: time.sleep(1)\n"
    )
    await until(lambda: "ready" in app.application.last_lines)
    assert await app.application.stop(grace_s=0.2) == -signal.SIGKILL


async def test_children_of_the_application_end_with_it(applications: Applications) -> None:
    app = await applications.start(
        """
        import subprocess, sys
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        print(child.pid, flush=True)
        """
    )
    assert await app.end() == 0
    (child,) = app.said
    await until(lambda: not alive(child))


async def test_a_child_that_left_the_group_does_not_hold_up_the_end(
    applications: Applications,
) -> None:
    app = await applications.start(
        """
        import subprocess, sys
        child = subprocess.Popen(
            [sys.executable, "-c", "import time; time.sleep(20)"], start_new_session=True
        )
        print(child.pid, flush=True)
        """
    )
    assert await app.end() == 0
    os.kill(app.said[0], signal.SIGKILL)


async def test_kill_ends_it_at_once(applications: Applications) -> None:
    app = await applications.start(READY + "import time\ntime.sleep(60)\n")
    app.application.kill()
    assert await app.end() == -signal.SIGKILL


async def test_a_flood_of_output_stays_within_its_bound(applications: Applications) -> None:
    app = await applications.start(
        """
        import sys
        line = "x" * 999 + "\\n"
        for _ in range(300):
            sys.stdout.write(line * 100)
        print("the end")
        """
    )
    assert await app.end() == 0
    logs = [app.spec.logs / "console_output.log", app.spec.logs / "console_output.log.1"]
    sizes = [path.stat().st_size for path in logs]
    assert BYTES_MAX // 2 < sum(sizes) <= BYTES_MAX  # of 30 MB
    assert logs[0].read_text().endswith("the end\n")
    assert app.application.last_lines[-1] == "the end"


async def test_garbage_on_the_telemetry_pipe_is_counted_and_survived(
    applications: Applications,
) -> None:
    app = await applications.start(
        """
        import os
        pipe = int(os.environ["HARNESS_APPLICATION_FILES"].split(":")[1])
        os.write(pipe, b"no json\\n[1]\\n" + b"x" * 3_000_000 + b"\\n")
        os.write(pipe, b'{"kind": "Started", "pid": 1, "at_s": 0.0}\\n')
        """
    )
    assert await app.end() == 0
    assert app.application.malformed >= 3
    assert app.of("Started") == [{"kind": "Started", "pid": 1, "at_s": 0.0}]


async def test_nothing_is_left_open(applications: Applications) -> None:
    before = open_files()
    app = await applications.start("print('hello')")
    await app.end()
    assert open_files() - before == set()


async def test_a_missing_entry_is_refused(applications: Applications) -> None:
    with pytest.raises(Corrupt, match=r"counter: the container has no /panorama/main\.py"):
        await applications.start("", entry=("python3", "/panorama/main.py"))


async def test_an_entry_program_that_is_not_here_is_a_missing_capability(
    applications: Applications,
) -> None:
    with pytest.raises(CapabilityMissing, match="no 'gst-no-such-tool'"):
        await applications.start("", entry=("gst-no-such-tool", "/panorama/application.py"))


async def test_another_program_may_be_the_entry(applications: Applications) -> None:
    app = await applications.start("echo from $0", entry=("sh", "/panorama/application.py"))
    assert await app.end() == 0
    assert app.application.error_line.endswith("/panorama/application.py")


async def test_it_starts_only_once() -> None:
    with pytest.raises(EngineError, match="not started"):
        await Application().wait()


async def test_an_application_dies_with_the_harness(tmp_path: Path) -> None:
    """Even when the harness is killed without a chance to clean up."""
    (tmp_path / "root/panorama").mkdir(parents=True)
    (tmp_path / "root/panorama/application.py").write_text("import time\ntime.sleep(60)\n")
    source = f"""
        import asyncio
        from pathlib import Path
        from harness.runtime.process import Application, ApplicationSpec
        home = Path({str(tmp_path)!r})
        async def main():
            app = Application()
            spec = ApplicationSpec("x", home / "root", ("python3", "/panorama/application.py"),
                                   (), {{}}, (), (), home / "storage", home / "logs", "r")
            await app.start(spec, print)
            print(app.pid, flush=True)
            await app.wait()
        asyncio.run(main())
    """
    harness = await asyncio.create_subprocess_exec(
        sys.executable, "-c", textwrap.dedent(source), stdout=subprocess.PIPE
    )
    assert harness.stdout is not None
    pid = int(await asyncio.wait_for(harness.stdout.readline(), 10))
    # It must have become the application: before, it would end by itself on seeing us gone.
    await until(lambda: b"application.py" in Path(f"/proc/{pid}/cmdline").read_bytes())
    assert alive(pid)
    harness.kill()
    await harness.communicate()
    await until(lambda: not alive(pid))
