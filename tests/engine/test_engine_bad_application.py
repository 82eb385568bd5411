"""Applications that do harm: each is told of in the right log, and nobody else suffers."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness.engine.process import nodes
from harness.runtime import guard
from harness.runtime.sandbox import bubblewrap

if TYPE_CHECKING:
    from harness.record.event import Event

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "fixtures/apps/people-counter"
NODE = "import os, sys, time\nimport panoramasdk\nnode = panoramasdk.node()\n"
MEMORY_MAX = 300 << 20
BAD = {
    "leak": NODE + "held = []\nwhile True:\n    held.append(b'x' * (16 << 20)); time.sleep(0.01)\n",
    "forks": NODE
    + "while True:\n    if os.fork() == 0:\n        time.sleep(60)\n        os._exit(0)\n"
    "    time.sleep(0.001)\n",
    "gpu": "import ctypes\nctypes.CDLL('libcudart.so.10.2')\n",
    "deaf": NODE + "time.sleep(600)\n",  # never calls get()
    "talker": NODE
    + "line = 'x' * 999\nfor _ in range(200_000):\n    print(line)\ntime.sleep(600)\n",
    "writer": NODE + "for path in ('/usr/lib/x', '/etc/hosts', '/bin/sh'):\n    open(path, 'w')\n",
}


def bad_application(directory: Path, name: str, source: str) -> Path:
    """A copy of the sample application under another name, with other code and no model."""
    made = Path(shutil.copytree(SAMPLE, directory / name))
    shutil.rmtree(next(made.glob("packages/*model*")))
    code = next(made.glob("packages/*code*"))
    (code / "src/application.py").write_text(source)
    graph_path = next(made.glob("graphs/*/graph.json"))
    graph = json.loads(graph_path.read_text())["nodeGraph"]
    graph["packages"] = [one for one in graph["packages"] if "model" not in one["name"]]
    graph["nodes"] = [one for one in graph["nodes"] if one["name"] != "detector"]
    graph_path.write_text(json.dumps({"nodeGraph": graph}))
    for path in (graph_path, code / "package.json"):
        path.write_text(path.read_text().replace("people_counter_code", f"{name}_code"))
    code.rename(code.with_name(f"123456789012-{name}_code-1.0"))
    return made


@pytest.fixture(scope="module")
def ran(runs: Any, make_plan: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One run: the sample application in front of one camera, and every bad one beside it."""
    if bubblewrap()[0] is None:
        pytest.skip(bubblewrap()[1])
    directory = tmp_path_factory.mktemp("bad")
    applications = {"good": str(SAMPLE)}
    applications |= {name: str(bad_application(directory, name, BAD[name])) for name in BAD}
    deploys = [
        {
            "deploy": {
                "application": name,
                "as": name,
                "on": "north",
                "inputs": {"camera_in": "door"},
            }
        }
        for name in applications
    ]
    plan = make_plan(
        "process",
        applications=applications,
        site={
            "appliances": {"north": {"profile": "panorama-appliance", "firmware": "6.2.1"}},
            "cameras": {"door": {"profile": "generic-360p15"}},
        },
        bring_up=[{"provision": "north"}, deploys[0]],
        workload=[{"parallel": [*([one] for one in deploys[1:]), [{"observe": "8s"}]]}],
        time_scale=30,
    )
    stop = threading.Event()

    def until_observed(event: Event) -> None:
        """Those that always fail would be waited for: what is to be seen was seen by then."""
        if event.kind == "step.ended" and event.values["action"] == "observe":
            stop.set()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(guard, "PROCESSES_MAX", 40)
        patch.setattr(nodes, "memory_max_bytes", lambda _appliance: MEMORY_MAX)
        return runs(plan, stop=stop, listen=until_observed)


def lines(ran: Any, stream: str) -> list[tuple[str, str]]:
    return [
        (event.values.get("instance", ""), event.values["line"])
        for event in ran.of("log.line")
        if event.values["stream"] == stream
    ]


def ends(ran: Any, instance: str) -> set[str]:
    """Why it ended, but for the end of the run, which may meet it while it starts."""
    found: list[Event] = list(ran.of("app.error", "node.ended"))
    reasons = (str(e.values.get("line") or e.values.get("reason")) for e in found
               if e.values["instance"] == instance)  # fmt: skip
    return {one for one in reasons if "was stopped before it had started" not in one}


def test_the_appliance_and_the_other_application_are_unharmed(ran: Any) -> None:
    states = [event.values["state"] for event in ran.of("appliance.state")]
    assert states[-1] == "online"
    assert "offline" not in states
    (account,) = [e for e in ran.of("frames.account") if e.values["instance"] == "good"]
    assert account.values["delivered"] > 15
    assert ends(ran, "good") == set()
    assert ran.left == []


def test_one_that_leaks_is_killed_as_the_kernel_does(ran: Any) -> None:
    told = [line for instance, line in lines(ran, "kern_log") if instance == "leak"]
    assert told
    assert all(line.startswith("Out of memory: Killed process ") for line in told)
    assert ends(ran, "leak") == {"killed by SIGKILL"}


def test_one_that_forks_without_end_is_killed(ran: Any) -> None:
    told = [line for instance, line in lines(ran, "kern_log") if instance == "forks"]
    assert told
    assert all("fork rejected by pids controller" in line for line in told)


def test_a_gpu_library_that_is_missing_is_in_the_error(ran: Any) -> None:
    (said,) = ends(ran, "gpu")
    assert "libcudart.so.10.2: cannot open shared object file" in said


def test_one_that_never_asks_for_frames_skips_them_all(ran: Any) -> None:
    (account,) = [e.values for e in ran.of("frames.account") if e.values["instance"] == "deaf"]
    assert account["delivered"] == 0
    assert account["skipped_application"] > 15
    assert ends(ran, "deaf") == set()


def test_one_that_prints_without_end_goes_on(ran: Any) -> None:
    assert ends(ran, "talker") == set()


def test_writing_where_it_must_not_is_an_error_of_the_application(ran: Any) -> None:
    assert ends(ran, "writer") == {"OSError: [Errno 30] Read-only file system: '/usr/lib/x'"}
