"""Runs as a process of its own: moto's server on an inherited socket, until the parent ends.

    python -m harness.cloud.neighbour.host <descriptor of the listening socket>

The first line of standard input is the word that every request must carry; its end is the end of
the parent, however that came about.
"""

from __future__ import annotations

import hmac
import json
import logging
import os
import sys
import threading
from typing import IO, TYPE_CHECKING, Any

from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import make_server

from harness.cloud.neighbour.host import alarms, chance, clock, outside, resource
from harness.cloud.neighbour.host.questions import QUESTIONS
from harness.cloud.neighbour.protocol import (
    AGAIN_HEADER,
    PATH,
    SEED_HEADER,
    TIME_HEADER,
    WALL_HEADER,
    WORD_HEADER,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

RESOURCES = (resource.AlarmResource,)  # moto knows them once they are imported
QUESTION_BYTES_MAX = 64 << 20


class Host:
    """A WSGI application: moto's, closed to strangers, and questions of the parent beside it."""

    def __init__(self, word: str) -> None:
        self._word = word
        self._moto = DomainDispatcherApplication(create_backend_app)

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        if not hmac.compare_digest(environ.get(_key(WORD_HEADER), ""), self._word):
            start("403 Forbidden", [("Content-Length", "0")])
            return []
        wall_s = environ.get(_key(WALL_HEADER))
        with (
            clock.set_to(float(environ[_key(TIME_HEADER)]), float(wall_s) if wall_s else None),
            outside.told_before(_key(AGAIN_HEADER) in environ),
        ):
            path = environ.get("PATH_INFO", "")
            asks = path.startswith(PATH)
            if not asks:
                alarms.advance()
            if seed := environ.get(_key(SEED_HEADER)):
                chance.seed(seed)
            if asks:
                return _answer(path.removeprefix(PATH), environ, start)
            answered: Iterable[bytes] = self._moto(environ, start)
            return answered


def _key(header: str) -> str:
    return "HTTP_" + header.upper().replace("-", "_")


def _answer(name: str, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
    size = min(int(environ.get("CONTENT_LENGTH") or 0), QUESTION_BYTES_MAX)
    asked = json.loads(environ["wsgi.input"].read(size))
    body = json.dumps(QUESTIONS[name](**asked)).encode()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    start("200 OK", headers)
    return [body]


def _end_with_parent(stdin: IO[bytes]) -> None:
    while stdin.read(1):
        pass
    os._exit(0)


def main() -> None:
    stdin = open(0, "rb", buffering=0, closefd=False)  # noqa: SIM115 - as long as the process
    word = stdin.readline().decode().strip()
    threading.Thread(target=_end_with_parent, args=(stdin,), daemon=True).start()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    clock.install()
    chance.install()
    outside.install()
    alarms.install()
    server = make_server(
        "127.0.0.1",
        0,
        Host(word),
        threaded=True,
        request_handler=MotoRequestHandler,
        fd=int(sys.argv[1]),
    )
    server.serve_forever()


if __name__ == "__main__":
    main()
