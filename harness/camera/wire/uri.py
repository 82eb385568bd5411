"""What the server reads from a request URI: the camera's path and the number of a track."""

from __future__ import annotations

import re

CONTROL = "trackID={}"  # of track n, as the session description names it
_TRACK = re.compile(r"/?trackID=([0-9]{1,4})/?")


def path_of(uri: str) -> str:
    """`/path` of an RTSP URI without the track and without slashes at its end; `*` stays.

    `host:port/path` is read as well: readers ask so where a camera's Content-Base has no scheme.
    """
    if uri == "*":
        return uri
    rest = uri.partition("://")[2] or uri
    path = rest if rest.startswith("/") else f"/{rest.partition('/')[2]}"
    match = _TRACK.search(path)
    if match is not None and match.end() == len(path):
        path = path[: match.start()]
    return normal_path(path)


def track_of(uri: str) -> int | None:
    """The number of the track, None where the URI names them all."""
    match = _TRACK.search(uri)
    return int(match[1]) if match is not None and match.end() == len(uri) else None


def without_track(uri: str) -> str:
    """The aggregate URI of a track's URI."""
    match = _TRACK.search(uri)
    return (uri[: match.start()] if match and match.end() == len(uri) else uri).rstrip("/")


def normal_path(path: str) -> str:
    return f"/{path.strip('/')}"
