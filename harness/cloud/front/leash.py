"""Runs as a process of its own, by path, and becomes another program: `exec` at its end.

    leash.py <parent pid> <program> <argument>...

The program is killed when its parent dies, however that happens. Standard library only.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    parent, program, *arguments = sys.argv[1:]
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != int(parent):  # it died before the line above
        os.kill(os.getpid(), signal.SIGKILL)
    os.execv(program, [program, *arguments])


if __name__ == "__main__":
    main()
