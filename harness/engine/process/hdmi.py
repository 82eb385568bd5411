"""The screens of a site's appliances: a page to watch them on, and snapshots for the report.

The page listens on loopback only: `/` shows every appliance, `/<appliance>.mjpeg` streams what
is on its screen (multipart/x-mixed-replace, which browsers show as it is), `/<appliance>.jpg`
is the last picture. Snapshots are the first picture of each new owner and the next one after
something happened to the site, a bounded number a run.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from html import escape
from typing import TYPE_CHECKING, Any

from aiohttp import web

from harness.record import kind
from harness.runtime.screen import Screen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from harness.record.event import Event
    from harness.runtime.screen import Owner

SNAPSHOTS_MAX = 24
SHUTDOWN_S = 0.5
_BOUNDARY = "picture"
_WORTH = {
    kind.FAULT_OBSERVED: "under fault",
    kind.FAULT_RECOVERED: "recovered from",
}


class Hdmi:
    """The screen of each appliance. Snapshots go to `directory`, which is made when needed.

    `name` gives the scenario's name of an instance id.
    """

    def __init__(
        self,
        appliances: Iterable[str],
        directory: Path,
        note: Callable[[str, str, Mapping[str, Any]], None],
        name: Callable[[str], str],
    ) -> None:
        self._directory = directory
        self._note = note
        self._name = name
        self._screens = {one: self._screen(one) for one in appliances}
        self._wanted: dict[str, str] = {}  # appliance -> why its next picture is kept
        self._kept = 0
        self._url = ""
        self._told = False
        self._stack = AsyncExitStack()

    def _screen(self, appliance: str) -> Screen:
        def changed(instance: str | None) -> None:
            shown = None if instance is None else self._name(instance)
            if self._url and not self._told:
                self._told = True
                self._note("scenario", kind.DISPLAY_PAGE, {"url": self._url})
            owner = self._screens[appliance].owner
            streams = 0 if owner is None else owner.streams
            tiles = streams if owner is None or owner.tiled else min(streams, 1)
            values = {"owner": shown, "streams": streams, "tiles": tiles}
            self._note(f"appliance/{appliance}", kind.DISPLAY, values)
            if shown is not None:
                self._wanted[appliance] = f"first picture of {shown}"

        return Screen(changed)

    def started(self, appliance: str, application: Owner) -> None:
        if appliance in self._screens:
            self._screens[appliance].started(application)

    def stopped(self, appliance: str, application: Owner) -> None:
        if appliance in self._screens:
            self._screens[appliance].stopped(application)

    def picture(self, appliance: str, application: Owner, jpeg: bytes) -> None:
        if self._screens[appliance].picture(application, jpeg) and appliance in self._wanted:
            self._keep(appliance, application.instance, jpeg, self._wanted.pop(appliance))

    def see(self, event: Event) -> None:
        """The run's events: what is worth a snapshot is taken with the next picture."""
        why = _WORTH.get(event.kind)
        if why is not None:
            for appliance, screen in self._screens.items():
                if screen.owner is not None:
                    self._wanted[appliance] = f"{why} {event.values['fault']}"

    def _keep(self, appliance: str, instance: str, jpeg: bytes, why: str) -> None:
        if self._kept == SNAPSHOTS_MAX:
            return
        self._kept += 1
        self._directory.mkdir(parents=True, exist_ok=True)
        file = f"{self._kept:03}-{appliance}.jpg"
        (self._directory / file).write_bytes(jpeg)
        values = {"instance": self._name(instance), "file": file, "why": why}
        self._note(f"appliance/{appliance}", kind.DISPLAY_SNAPSHOT, values)

    # --- the page ------------------------------------------------------------------------------

    async def serve(self) -> str:
        """Open the page; its address, noted as well once there is something to see.

        `close` leaves nothing listening.
        """
        served = web.Application()
        served.router.add_get("/", self._index)
        served.router.add_get("/{appliance}.mjpeg", self._stream)
        served.router.add_get("/{appliance}.jpg", self._last)
        runner = web.AppRunner(served, access_log=None, shutdown_timeout=SHUTDOWN_S)
        self._stack.push_async_callback(runner.cleanup)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self._url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
        return self._url

    async def close(self) -> None:
        await self._stack.aclose()

    async def _index(self, _request: web.Request) -> web.Response:
        figures = "".join(
            f"<figure><img src='/{escape(one)}.mjpeg' width='960' alt=''>"
            f"<figcaption>{escape(one)}</figcaption></figure>"
            for one in self._screens
        )
        page = f"<!doctype html><meta charset='utf-8'><title>HDMI</title><body>{figures}</body>"
        return web.Response(text=page, content_type="text/html")

    def _asked(self, request: web.Request) -> Screen:
        screen = self._screens.get(request.match_info["appliance"])
        if screen is None:
            raise web.HTTPNotFound(text=f"appliances: {', '.join(self._screens)}\n")
        return screen

    async def _last(self, request: web.Request) -> web.Response:
        jpeg = self._asked(request).jpeg
        if jpeg is None:
            raise web.HTTPNotFound(text="the screen is blank\n")
        return web.Response(body=jpeg, content_type="image/jpeg")

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        screen = self._asked(request)
        response = web.StreamResponse(
            headers={"Content-Type": f"multipart/x-mixed-replace; boundary={_BOUNDARY}"}
        )
        await response.prepare(request)
        viewer = screen.watch()
        try:
            while True:
                jpeg = await viewer.get()
                head = f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\n"
                head += f"Content-Length: {len(jpeg)}\r\n\r\n"
                await response.write(head.encode() + jpeg + b"\r\n")
        except (ConnectionError, asyncio.CancelledError):  # the viewer left, or the run ended
            return response
        finally:
            screen.leave(viewer)
