"""Defects of how applications are run: their camera nodes, their display, their console."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from harness.appliance.defects.kind import Defect, altering
from harness.appliance.effect import StartNode

if TYPE_CHECKING:
    from harness.appliance.defects.kind import Change, Wrap
    from harness.appliance.effect import Effect, Program
    from harness.appliance.firmware import Firmware


def _hosted(**settings: Any) -> Wrap:
    """Every application is run with these settings of `Hosting`."""

    def make(_firmware: Firmware) -> Change:
        def change(effect: Effect) -> Program[Any]:
            if isinstance(effect, StartNode):
                effect = replace(effect, hosting=replace(effect.hosting, **settings))
            return (yield effect)

        return change

    return altering(make)


DEFECTS = (
    Defect(
        name="camera-retry-stops",
        step="supervise",
        summary="a camera that is away for three minutes is not tried any more",
        seen="vendor's change log, fixed in 4.3.23: stopped retrying inactive cameras",
        caught_by="recovers",
        wrap=_hosted(retry_for_s=180.0),
    ),
    Defect(
        name="camera-retry-too-short",
        step="supervise",
        summary="a camera that restarts is not waited for",
        seen="vendor's change log, fixed in 5.1.7: camera retry",
        caught_by="recovers",
        wrap=_hosted(retry_for_s=2.0),
    ),
    Defect(
        name="camera-never-reconnects",
        step="supervise",
        summary="a session that ended is not opened again",
        seen="field: RTSP clients that connect once",
        caught_by="recovers",
        wrap=_hosted(retry_for_s=0.0),
    ),
    Defect(
        name="cameras-disconnect",
        step="supervise",
        summary="sessions with cameras break every two minutes",
        seen="vendor's change log, fixed in 4.3.72: cameras disconnect (dqBuffer(131))",
        caught_by="streams-steady",
        wrap=_hosted(session_s=120.0),
    ),
    Defect(
        name="other-codec-crashes-application",
        step="supervise",
        summary="a camera that does not send H.264 takes the application with it",
        seen="vendor's change log, fixed in 5.1.7: non-H.264 handling",
        caught_by="crashes-explained",
        wrap=_hosted(survives=frozenset({"refusal"})),
    ),
    Defect(
        name="media-gateway-dies",
        step="supervise",
        summary="a camera that refuses takes the application with it",
        seen="vendor's change log, before 6.0.8: media-gateway error handling",
        caught_by="crashes-explained",
        wrap=_hosted(survives=frozenset({"codec"})),
    ),
    Defect(
        name="display-shows-one-input",
        step="supervise",
        summary="of several inputs the display shows one",
        seen="vendor's change log, fixed in 5.0.7: several inputs show one output instead of tiles",
        caught_by="display-tiles",
        wrap=_hosted(tiles=False),
    ),
    Defect(
        name="custom-dns-fails",
        step="supervise",
        summary="applications cannot resolve names where name servers are configured",
        seen="vendor's change log, 7.0.11, recalled: containers lose connectivity with custom DNS",
        caught_by="names-resolve",
        wrap=_hosted(resolves=False),
    ),
    Defect(
        name="input-ports-stay-closed",
        step="supervise",
        summary="inbound ports that all documents name are not opened",
        seen="vendor's change log, fixed in 5.0.74: input-port errors",
        caught_by="ports-open",
        wrap=_hosted(opens_ports=False),
    ),
    Defect(
        name="console-fills-disk",
        step="supervise",
        summary="what an application prints is kept without bound",
        seen="vendor's change log, before 4.3.55: console_output filled the disk",
        caught_by="logs-bounded",
        wrap=_hosted(console_bytes_max=None),
    ),
)
