"""Runs as a process of its own, by path, and becomes the application: `exec` at its end.

    launch.py <parent pid> <container root> <storage> <logs> <command>...

It gives the application the paths it has on the appliance: a private mount namespace whose root
is this machine's, except for `/panorama` (the container's files) and `/opt/aws/panorama/storage`
and `logs`. That needs user namespaces, or root; it separates paths, it is no security boundary.
Where it is not allowed, one line says so, arguments below `/panorama` are mapped and the working
directory is the container's root. In both cases the process is killed when its parent dies.
Standard library only: it has to be quick.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
CLONE_NEWNS = 0x0002_0000
CLONE_NEWUSER = 0x1000_0000
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x4_0000
MNT_DETACH = 2

_libc = ctypes.CDLL(None, use_errno=True)


def call(name: str, *arguments: object) -> None:
    """Call a libc function that returns 0 when it worked. Raises `OSError`."""
    values = [a.encode() if isinstance(a, str) else a for a in arguments]
    if getattr(_libc, name)(*values) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def bind(source: str, target: str) -> None:
    """Make `source` appear at `target`, which is created."""
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    else:
        with open(target, "wb"):
            pass
    call("mount", source, target, None, ctypes.c_ulong(MS_BIND | MS_REC), None)


def enter_namespace() -> None:
    user, group = os.geteuid(), os.getegid()
    try:
        call("unshare", CLONE_NEWNS)
    except PermissionError:
        call("unshare", CLONE_NEWNS | CLONE_NEWUSER)
        maps = {"setgroups": "deny", "uid_map": f"{user} {user} 1", "gid_map": f"{group} {group} 1"}
        for name, text in maps.items():
            with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
                file.write(text)
    call("mount", "none", "/", None, ctypes.c_ulong(MS_REC | MS_PRIVATE), None)


def mirror(source: str, target: str, without: tuple[str, ...]) -> None:
    """Everything in `source` but `without` appears in `target`."""
    os.makedirs(target, exist_ok=True)
    for name in os.listdir(source):
        path, place = os.path.join(source, name), os.path.join(target, name)
        if name in without:
            continue
        if os.path.islink(path):
            os.symlink(os.readlink(path), place)
        elif os.path.isdir(path) or os.path.isfile(path):
            bind(path, place)


def enter_root(root: str, storage: str, logs: str) -> None:
    """Build the application's view of the file system, on top of `root`, and change into it.

    `root` serves as the mount point, so nothing is left to clean up; its content is held open.
    """
    places = {
        f"{root}/panorama": "panorama",
        storage: "opt/aws/panorama/storage",
        logs: "opt/aws/panorama/logs",
    }
    enter_namespace()
    held = {os.open(source, os.O_PATH): place for source, place in places.items()}
    call("mount", "tmpfs", root, "tmpfs", ctypes.c_ulong(0), "size=1m")
    try:
        mirror("/", root, without=("opt", "panorama"))
        if os.path.isdir("/opt"):
            mirror("/opt", f"{root}/opt", without=("aws",))
        for descriptor, place in held.items():
            bind(f"/proc/self/fd/{descriptor}", f"{root}/{place}")
            os.close(descriptor)
        os.chroot(root)
    except OSError:
        call("umount2", root, MNT_DETACH)
        raise
    os.chdir("/")


def main() -> None:
    parent, root, storage, logs, *command = sys.argv[1:]
    try:
        enter_root(root, storage, logs)
    except OSError as error:
        sys.stderr.write(f"harness: /panorama and /opt/aws/panorama are not mapped: {error}\n")
        sys.stderr.flush()
        os.chdir(root)
        command = [f"{root}{word}" if word.startswith("/panorama/") else word for word in command]
    # Last: entering a user namespace clears it. Then look whether the parent died meanwhile.
    call("prctl", PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != int(parent):
        os.kill(os.getpid(), signal.SIGKILL)
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
