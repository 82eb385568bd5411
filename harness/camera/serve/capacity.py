"""What a process that serves many cameras arranges for itself.

Each connection is a file descriptor, a reader by UDP three. And a full collection of garbage looks
at every object there is: of a process that has loaded FFmpeg's bindings and some clips that takes
30 ms, in which no camera sends.
"""

from __future__ import annotations

import gc
import resource

CONNECTIONS_MAX = 16_384
FILES_BESIDE = 128  # of the process, beside its connections


def raise_file_limit() -> int:
    """Allow this process all the files it may have; how many that is."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def connections_max() -> int:
    """How many connections this process takes at the same time."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, min(CONNECTIONS_MAX, soft - FILES_BESIDE))


def settle() -> None:
    """What is loaded by now stays loaded: later collections need not look at it again."""
    gc.collect()
    gc.freeze()
