"""The one error tree.

HarnessError                 anything the harness raises on purpose; carries a hint
├── InputError               a file, option or value given by the user is wrong           exit 2
├── CapabilityMissing        this machine cannot do what was asked                        exit 4
├── PeerError                the other side (device, camera, cloud, application) erred
│   ├── LinkDown             no connection, or it broke
│   ├── PeerTimeout          no answer in time
│   ├── PeerRefused          the other side answered no (status, certificate, credentials)
│   │   └── NotFound         it has no such thing
│   └── Corrupt              what came does not match its hash, signature or format
├── StorageFull              a partition has no room for a write
├── StorageReadOnly          a partition takes no writes, as after an I/O error
└── EngineError              we erred                                                     exit 5
"""

from __future__ import annotations


class HarnessError(Exception):
    """Base of all errors raised on purpose; `hint` says what would be right."""

    exit_code = 5

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class InputError(HarnessError):
    exit_code = 2


class CapabilityMissing(HarnessError):
    exit_code = 4


class PeerError(HarnessError):
    exit_code = 1


class LinkDown(PeerError):
    pass


class PeerTimeout(PeerError):
    pass


class PeerRefused(PeerError):
    pass


class NotFound(PeerRefused):
    pass


class Corrupt(PeerError):
    pass


class StorageFull(PeerError):
    pass


class StorageReadOnly(PeerError):
    pass


class EngineError(HarnessError):
    pass
