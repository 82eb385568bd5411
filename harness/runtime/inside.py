"""Runs first in an application's sandbox, by path, and becomes the application: `exec` at its end.

    inside.py <descriptor> <command>...

The sandbox has a network of its own with nothing in it but loopback. What the application may
reach is brought in as sockets: this end makes them where the application lives and hands them
to the harness, over the Unix socket `descriptor`. The harness says `go` when those are there
that the application needs from the start; more may be asked for while it runs, so a process of
its own stays behind for that, beside the application and not below it.

One message a request: `listen <port>`, `stream` or `datagrams` (two: an even port and the next),
one an answer: `ok` with the descriptors, or the number of the error. Standard library only.
"""

from __future__ import annotations

import os
import socket
import sys

HOST = "127.0.0.1"
BACKLOG = 128
PAIR_TRIES = 100
REQUEST_BYTES = 64


def listen(port: int) -> list[socket.socket]:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("", port))  # all addresses: there is nothing here but loopback
    sock.listen(BACKLOG)
    return [sock]


def stream() -> list[socket.socket]:
    return [socket.socket(socket.AF_INET, socket.SOCK_STREAM)]


def datagrams() -> list[socket.socket]:
    """Two ports in a row, the first one even, as RTP wants them."""
    error = OSError(98, "no two free ports in a row")
    for _ in range(PAIR_TRIES):
        first = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        second = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        first.bind((HOST, 0))
        port = first.getsockname()[1]
        try:
            if port % 2 == 0:
                second.bind((HOST, port + 1))
                return [first, second]
        except OSError as problem:
            error = problem
        first.close()
        second.close()
    raise error


def answer(harness: socket.socket, request: bytes) -> None:
    word, _, rest = request.decode("ascii").partition(" ")
    try:
        made = listen(int(rest)) if word == "listen" else {"stream": stream}.get(word, datagrams)()
    except OSError as error:
        harness.send(str(error.errno).encode())
        return
    socket.send_fds(harness, [b"ok"], [sock.fileno() for sock in made])
    for sock in made:
        sock.close()


def serve(harness: socket.socket) -> bool:
    """Make sockets until told to go on; False when the harness is gone."""
    while request := harness.recv(REQUEST_BYTES):
        if request == b"go":
            return True
        answer(harness, request)
    return False


def stay_behind(harness: socket.socket) -> None:
    """Go on making sockets in a process that the application is no parent of."""
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    if os.fork() == 0:
        nothing = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(nothing, number)
        os.closerange(3, harness.fileno())
        os.closerange(harness.fileno() + 1, 1024)
        serve(harness)
    os._exit(0)


def main() -> None:
    number, *command = sys.argv[1:]
    harness = socket.socket(fileno=int(number))
    os.set_inheritable(harness.fileno(), False)
    harness.send(b"here")
    if not serve(harness):
        os._exit(1)
    stay_behind(harness)
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
