"""Certificates that expire are renewed in time, on both rungs, and used from then on."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.usefixtures("brief_settling")

LIFE_S = {"model": 1800.0, "process": 9.0}
LOSS = {"fault": {"kind": "uplink.loss", "target": "north", "for": "1s"}}


def test_a_box_that_outlives_its_certificate_reconnects(
    engine: str, runs: Any, make_plan: Any
) -> None:
    life_s = LIFE_S[engine]
    ran = runs(
        make_plan(
            engine,
            cloud={"certificates": f"{life_s:g}s"},
            workload=[
                {"observe": f"{0.8 * life_s:g}s"},
                LOSS,
                {"observe": f"{0.3 * life_s:g}s"},
                LOSS,
            ],
        )
    )
    assert ran.outcome == ("completed", "")
    renewed = ran.of("certificate.renewed")
    assert renewed
    healed = [event.t_s for event in ran.of("fault.healed")]
    assert healed[-1] > life_s  # the first certificate had expired by then
    assert ran.of("link.connected")[-1].t_s > healed[-1]
    refusals = [event.values["reason"] for event in ran.of("link.refused")]
    assert not [reason for reason in refusals if "expired" in reason]
