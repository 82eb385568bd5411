"""Tables of records that know which of their records a call may have changed.

Service code takes records out of a table and changes them in place; it never says so. A table
therefore remembers every record that it handed out, and `changes` finds those whose encoded
form differs from what is kept. So a change can be missed only by changing a record that did not
come out of a table during the call, which is why records refer to one another by id.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

import msgspec

if TYPE_CHECKING:
    from collections.abc import ItemsView, Iterable, Sequence, ValuesView

R = TypeVar("R")
Change: TypeAlias = "tuple[str, str, bytes | None]"  # table, id, encoded record or None: removed


class Journal(Protocol):
    """What keeps changes. It must not fail: what it cannot keep, it reports in its own way."""

    def append(self, changes: Sequence[Change]) -> None: ...


class Table(MutableMapping[str, R]):
    """Records of one type by id, in the order they were added. Ids are not changed in place.

    Records of a frozen type are not looked at again when they are only read.
    """

    def __init__(self, name: str, record: type[R], rows: Iterable[tuple[str, bytes]] = ()) -> None:
        """`rows` is what is kept already. Raises `ValueError` when a row is not such a record."""
        self._name = name
        self._kept = dict(rows)
        decoder = msgspec.json.Decoder(record)
        self._records: dict[str, R] = {
            key: decoder.decode(data) for key, data in self._kept.items()
        }
        self._frozen = bool(getattr(record, "__dataclass_params__").frozen)  # noqa: B009
        self._touched: dict[str, None] = {}  # in the order in which they were touched or added
        self._removed: set[str] = set()

    def __getitem__(self, key: str) -> R:
        record = self._records[key]
        if not self._frozen:
            self._touched[key] = None
        return record

    def __setitem__(self, key: str, record: R) -> None:
        self._records[key] = record
        self._touched[key] = None

    def __delitem__(self, key: str) -> None:
        del self._records[key]
        self._touched.pop(key, None)
        self._removed.add(key)

    def __iter__(self) -> Iterator[str]:
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)

    def __contains__(self, key: object) -> bool:
        return key in self._records

    def values(self) -> ValuesView[R]:
        self._touch_all()
        return self._records.values()

    def items(self) -> ItemsView[str, R]:
        self._touch_all()
        return self._records.items()

    def _touch_all(self) -> None:
        if not self._frozen:
            self._touched.update(dict.fromkeys(self._records))

    def changes(self) -> list[Change]:
        """What differs from what was kept, which it counts as from now on."""
        found: list[Change] = [
            (self._name, key, None)
            for key in self._removed
            if self._kept.pop(key, None) is not None
        ]
        for key in self._touched:
            data = encode(self._records[key])
            if data != self._kept.get(key):
                self._kept[key] = data
                found.append((self._name, key, data))
        self.forget()
        return found

    def forget(self) -> None:
        """Nothing that was handed out has been changed."""
        self._touched.clear()
        self._removed.clear()


def encode(record: Any) -> bytes:
    """A record as JSON. Half a surrogate pair, which UTF-8 has no form for, becomes `?`."""
    try:
        return msgspec.json.encode(record)
    except UnicodeEncodeError:
        return msgspec.json.encode(_encodable(msgspec.to_builtins(record)))


def _encodable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    if isinstance(value, dict):
        return {_encodable(key): _encodable(item) for key, item in value.items()}
    return [_encodable(item) for item in value] if isinstance(value, list) else value
