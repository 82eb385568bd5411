"""Locust for real, small and short: what it does is counted, and nothing of it stays."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.errors import Corrupt, EngineError, InputError
from harness.fleet import swarm
from harness.fleet.order import ORDER_VARIABLE, Order, read_outcome
from harness.fleet.profile import PROFILES, LoadProfile
from harness.fleet.verdict import judge

if TYPE_CHECKING:
    from harness.cloud.front.server import CloudServer

pytestmark = pytest.mark.skipif(bool(swarm.missing()), reason=swarm.missing())

SMALL = LoadProfile(
    "small", "everything at once", devices=3, operators=1, duration_s=14.0, heartbeat_s=0.5,
    think_s=0.5, storm_at=0.4, waves=((0.6, 1.0),),
)  # fmt: skip


def order_for(served: CloudServer, directory: Path, profile: LoadProfile = SMALL) -> Order:
    return Order(
        profile=profile,
        api_url=served.api_url,
        key_id=served.root_key.id,
        secret=served.root_key.secret,
        account="123456789012",
        region="us-east-1",
        ca_pem="",
        run="load-test",
        outcome=str(directory / "outcome.json"),
    )


def locusts() -> set[int]:
    """Processes of this machine that are a swarm."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*/environ"):
        try:
            if ORDER_VARIABLE.encode() in entry.read_bytes():
                found.add(int(entry.parent.name))
        except OSError:
            continue
    return found - {os.getpid()}


def test_a_swarm_does_what_its_profile_says(served: CloudServer, tmp_path: Path) -> None:
    before = locusts()
    outcome = swarm.run(order_for(served, tmp_path), workers=1, directory=tmp_path)
    assert outcome.errors == {}
    assert judge(SMALL, outcome).verdict == "PASS", outcome
    counts = {row.name: row.requests for row in outcome.rows}
    assert counts["register"] == counts["connect"] == counts["reconnect"] == 3
    assert counts["CreateJobForDevices"] == counts["job"] == 3
    assert (tmp_path / "locust-small.html").stat().st_size > 10_000
    assert locusts() <= before
    assert not list(Path(tmp_path).glob("order*"))


def test_several_workers_share_a_swarm(served: CloudServer, tmp_path: Path) -> None:
    before = locusts()
    shared = replace(SMALL, duration_s=16.0, storm_at=None, waves=())
    outcome = swarm.run(order_for(served, tmp_path, shared), workers=2, directory=tmp_path)
    assert judge(shared, outcome).verdict == "PASS", outcome
    assert {row.name: row.requests for row in outcome.rows}["register"] == 3
    assert locusts() <= before


def test_a_plane_that_is_not_there_is_failures_and_no_hang(
    served: CloudServer, tmp_path: Path
) -> None:
    order = order_for(served, tmp_path, PROFILES["steady"])
    profile = LoadProfile("gone", "nobody listens", devices=1, operators=1, duration_s=3.0)
    gone = Order(
        profile, "http://127.0.0.1:9", order.key_id, order.secret, order.account, order.region,
        "", "load-gone", order.outcome,
    )  # fmt: skip
    outcome = swarm.run(gone, workers=1, directory=tmp_path)
    assert outcome.failures == outcome.requests > 0
    assert judge(profile, outcome).verdict == "FAIL"
    assert order.secret not in (tmp_path / "locust-gone.log").read_text(encoding="utf-8")


def test_a_swarm_that_breaks_says_where_its_log_is(
    served: CloudServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "locustfile.py"
    broken.write_text("import no_such_module_anywhere\n", encoding="utf-8")
    monkeypatch.setattr(swarm, "_LOCUSTFILE", broken)
    with pytest.raises(EngineError, match="without an outcome") as caught:
        swarm.run(order_for(served, tmp_path), workers=1, directory=tmp_path)
    assert "locust-small.log" in caught.value.hint
    assert "no_such_module_anywhere" in (tmp_path / "locust-small.log").read_text(encoding="utf-8")


def test_the_key_does_not_show(served: CloudServer, tmp_path: Path) -> None:
    order = order_for(served, tmp_path)
    assert order.secret not in repr(order)


def test_workers_are_bounded(served: CloudServer, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="0 workers"):
        swarm.run(order_for(served, tmp_path), workers=0, directory=tmp_path)


def test_an_outcome_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    path = tmp_path / "outcome.json"
    path.write_text("{", encoding="utf-8")
    with pytest.raises(Corrupt, match="the swarm left no outcome"):
        read_outcome(path)
