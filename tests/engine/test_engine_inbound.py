"""An inbound port from outside to the application, and from the application to its appliance."""

from __future__ import annotations

import json
import shutil
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness.runtime.sandbox import bubblewrap

if TYPE_CHECKING:
    from harness.record.event import Event

ROOT = Path(__file__).parents[2]
CODE = "packages/123456789012-people_counter_code-1.0"
SERVER = """
import http.server, threading, urllib.request

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        text = self.path
        if self.path == "/loop":  # ask the appliance, at the address others know it by
            with urllib.request.urlopen("http://%s/back" % self.headers["Host"]) as answer:
                text = answer.read().decode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(("inside " + text).encode())

    def log_message(self, *words):
        print("asked", *words, flush=True)

server = http.server.ThreadingHTTPServer(("", 80), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
"""


@pytest.fixture
def application(tmp_path: Path) -> Path:
    """The sample, with a server on port 80, and port 8080 of the appliance leading to it."""
    made = Path(shutil.copytree(ROOT / "fixtures/apps/people-counter", tmp_path / "app"))
    source = made / CODE / "src/application.py"
    source.write_text(SERVER + source.read_text())
    package = json.loads((made / CODE / "package.json").read_text())
    (interface,) = package["nodePackage"]["interfaces"]
    interface["network"] = {"inboundPorts": [{"port": 80, "description": "http"}]}
    (made / CODE / "package.json").write_text(json.dumps(package))
    path = next(made.glob("graphs/*/graph.json"))
    graph = json.loads(path.read_text())
    rule = {"node": "code_node", "containerPort": 80, "hostPort": 8080}
    graph["nodeGraph"]["networkRoutingRules"] = [rule]
    path.write_text(json.dumps(graph))
    return made


def deployed(make_plan: Any, application: Path, ports: list[int]) -> Any:
    step = {
        "application": "people-counter",
        "as": "counter",
        "on": "north",
        "inputs": {"camera_in": "door"},
        "open_ports": ports,
    }
    return make_plan(
        "process",
        deploy="counter",
        application=application,
        bring_up=[{"provision": "north"}, {"deploy": step}],
        workload=[{"observe": "1s"}],
        time_scale=30,
    )


def test_a_port_that_all_three_documents_name_is_open(
    application: Path, runs: Any, make_plan: Any
) -> None:
    if bubblewrap()[0] is None:
        pytest.skip(bubblewrap()[1])
    opened: list[str] = []

    def listen(event: Event) -> None:
        if event.kind == "port.opened":
            opened.append(f"http://{event.values['address']}:{event.values['port']}")

    asked: list[str] = []

    def ask() -> None:
        for path in ("/status", "/loop"):
            with urllib.request.urlopen(opened[0] + path, timeout=10) as answer:
                asked.append(answer.read().decode())

    def ask_when_it_runs(event: Event) -> None:
        listen(event)
        if event.kind == "step.started" and event.values["action"] == "observe":
            worker.start()

    worker = threading.Thread(target=ask)
    ran = runs(deployed(make_plan, application, [80]), listen=ask_when_it_runs)
    worker.join()
    assert ran.outcome == ("completed", "")
    assert asked == ["inside /status", "inside inside /back"]
    (port,) = ran.of("port.opened")
    assert (port.values["node"], port.values["port"], port.values["container_port"]) == (
        *("code_node", 8080),
        80,
    )
    assert ran.left == []
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(opened[0], timeout=5)


def test_a_port_that_the_deployment_does_not_name_stays_closed(
    application: Path, runs: Any, make_plan: Any
) -> None:
    ran = runs(deployed(make_plan, application, []))
    assert ran.outcome == ("completed", "")
    assert ran.of("port.opened") == []


def test_a_port_without_a_rule_is_refused(application: Path, runs: Any, make_plan: Any) -> None:
    ran = runs(deployed(make_plan, application, [81]))
    ok, error = ran.steps()["deploy counter (people-counter) on north"]
    assert not ok
    assert error == "deploy counter: the manifest has no rule for container port 81"
