"""The root keys of a server: those given, and one drawn once and kept with the state."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from harness.cloud.access.keyring import Keyring
from harness.cloud.storage.files import write_private
from harness.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

FILE = "root-key.json"


def kept_keyring(directory: Path, account: str, given: Sequence[tuple[str, str, str]]) -> Keyring:
    """A keyring with a root key of `account`: the first given, the kept one, or a new one.

    Raises `InputError` when a key cannot be one.
    """
    keyring = Keyring(time.time)
    for owner, key_id, secret in given:
        keyring.add_root(owner, key_id, secret)
    if any(key.principal.account == account for key in keyring.roots):
        return keyring
    path = directory / FILE
    kept = _read(path)
    if account in kept:
        keyring.add_root(account, *kept[account])
    else:
        key = keyring.add_root(account)
        write_private(path, json.dumps({**kept, account: [key.id, key.secret]}).encode())
    return keyring


def _read(path: Path) -> dict[str, list[str]]:
    try:
        kept = json.loads(path.read_bytes())
        return {str(account): [str(key), str(secret)] for account, (key, secret) in kept.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise InputError(
            f"{path}: no root keys can be read: {error}",
            hint="delete the file to have a new key drawn",
        ) from None
