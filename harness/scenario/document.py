"""YAML as people mean it, with the place of everything.

Scalars follow the core schema of YAML 1.2.2 (section 10.3), narrowed: `true`, `false`, `null`,
decimal integers and finite decimal floats; anything else, so also `no`, `on`, `1:30`, `010` and
dates, is the text as written. Keys are always text. Aliases, anchors, tags and merge keys are
refused, so a small file cannot grow; size and depth are bounded.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import yaml

from harness.scenario.problem import FileInvalid, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Loc: TypeAlias = tuple[str | int, ...]

FILE_BYTES_MAX = 256 * 1024
DEPTH_MAX = 32
NUMBER_DIGITS_MAX = 30

_NULL = re.compile(r"^(?:~|null|Null|NULL|)$")
_BOOL = re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$")
_INT = re.compile(r"^[-+]?(?:0|[1-9][0-9]*)$")
_FLOAT = re.compile(
    r"^[-+]?(?:(?:0|[1-9][0-9]*)\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?$"
    r"|^[-+]?(?:0|[1-9][0-9]*)[eE][-+]?[0-9]+$"
)
_TAG = "tag:yaml.org,2002:"


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a file, counted from 1 as editors do."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Document:
    """A file's data with the mark of every key and value, and what was already wrong in it."""

    file: str
    lines: tuple[str, ...]
    data: Any
    keys: Mapping[Loc, Mark]
    values: Mapping[Loc, Mark]
    problems: tuple[Problem, ...]

    def problem(self, loc: Loc, message: str, *, hint: str = "", at_key: bool = False) -> Problem:
        """A problem at `loc`, or at the nearest place around it that the file really has."""
        while loc and loc not in self.values:
            loc = loc[:-1]
        mark = self.keys.get(loc) if at_key else None
        return _problem(self.file, self.lines, mark or self.values[loc], message, hint)

    def at(self, loc: Loc) -> Any:
        """The data at `loc`, or None where there is none."""
        value = self.data
        for part in loc:
            try:
                value = value[part]
            except (KeyError, IndexError, TypeError):
                return None
        return value


def read(path: Path, *, shown_as: str | None = None) -> Document:
    """Read and parse a YAML file. Raises `FileInvalid` when it cannot be read as one."""
    file = shown_as or path.as_posix()
    try:
        with path.open("rb") as stream:
            raw = stream.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise FileInvalid([Problem(file, 1, 1, f"cannot read the file: {reason}")]) from None
    if len(raw) > FILE_BYTES_MAX:
        hint = f"at most {FILE_BYTES_MAX // 1024} KiB are read"
        raise FileInvalid([Problem(file, 1, 1, "the file is too large", hint)])
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise FileInvalid([Problem(file, line, 1, "not UTF-8 text", "save it as UTF-8")]) from None
    return parse(text, file=file)


def parse(text: str, *, file: str) -> Document:
    """Parse YAML text. Raises `FileInvalid` on what is not YAML, or not the part we accept."""
    lines = tuple(text.splitlines())
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        raise FileInvalid([_syntax(file, lines, error)]) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        message = f"character U+{ord(text[error.position]):04X} is not allowed"
        raise FileInvalid([_problem(file, lines, Mark(line, 1), message, "")]) from None
    if node is None:
        raise FileInvalid([Problem(file, 1, 1, "the file is empty")])
    builder = _Builder(file, lines)
    data = builder.build(node, ())
    return Document(file, lines, data, builder.keys, builder.values, tuple(builder.problems))


def _resolvers() -> dict[str, list[tuple[str, re.Pattern[str]]]]:
    """What plain scalars may mean, by their first character, as PyYAML wants to know it."""
    numbers = [(_TAG + "int", _INT), (_TAG + "float", _FLOAT)]
    table = dict.fromkeys("-+.0123456789", numbers)
    table |= {first: [(_TAG + "bool", _BOOL)] for first in "tTfF"}
    table |= {first: [(_TAG + "null", _NULL)] for first in ("~", "n", "N", "")}
    return table


class _Loader(yaml.SafeLoader):
    """Composes nodes only: PyYAML's scanner and parser with our scalars and our limits."""

    yaml_implicit_resolvers = _resolvers()

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event: yaml.Event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise _refusal("anchors and aliases are not allowed", event)
        if getattr(event, "tag", None) is not None:
            raise _refusal("tags are not allowed", event)
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise _refusal(f"nested more than {DEPTH_MAX} deep", event)
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1


def _refusal(message: str, event: yaml.Event) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=message, problem_mark=event.start_mark)  # type: ignore[arg-type]


class _Builder:
    """Turns nodes into data and notes where everything is."""

    def __init__(self, file: str, lines: tuple[str, ...]) -> None:
        self.file = file
        self.lines = lines
        self.keys: dict[Loc, Mark] = {}
        self.values: dict[Loc, Mark] = {}
        self.problems: list[Problem] = []

    def build(self, node: yaml.Node, loc: Loc) -> Any:
        self.values[loc] = _mark(node)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, loc)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(item, (*loc, i)) for i, item in enumerate(node.value)]
        return self._scalar(node)

    def _mapping(self, node: yaml.MappingNode, loc: Loc) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._add(key_node, "a key must be plain text")
                continue
            key, place = str(key_node.value), (*loc, str(key_node.value))
            if key in data:
                first = self.keys[place]
                self._add(
                    key_node,
                    f"key `{key}` is given twice",
                    f"the first one is in line {first.line}; keep one of them",
                )
                continue
            self.keys[place] = _mark(key_node)
            data[key] = self.build(value_node, place)
        return data

    def _scalar(self, node: yaml.Node) -> Any:
        text = str(node.value)
        kind = node.tag.removeprefix(_TAG)
        if kind == "null":
            return None
        if kind == "bool":
            return text.lower() == "true"
        if kind in ("int", "float"):
            number = _number(text, kind)
            if number is None:
                self._add(node, f"number {text[:NUMBER_DIGITS_MAX]}... is out of range")
            return number
        return text

    def _add(self, node: yaml.Node, message: str, hint: str = "") -> None:
        self.problems.append(_problem(self.file, self.lines, _mark(node), message, hint))


def _number(text: str, kind: str) -> int | float | None:
    if len(text) > NUMBER_DIGITS_MAX:
        return None
    number = int(text) if kind == "int" else float(text)
    return number if math.isfinite(number) else None


def _mark(node: yaml.Node) -> Mark:
    return Mark(node.start_mark.line + 1, node.start_mark.column + 1)


def _problem(file: str, lines: tuple[str, ...], mark: Mark, message: str, hint: str) -> Problem:
    source = lines[mark.line - 1] if mark.line <= len(lines) else ""
    return Problem(file, mark.line, mark.column, message, hint, source)


def _syntax(file: str, lines: tuple[str, ...], error: yaml.MarkedYAMLError) -> Problem:
    at = error.problem_mark or error.context_mark
    mark = Mark(at.line + 1, at.column + 1) if at else Mark(1, 1)
    message = (error.problem or error.context or "not YAML").strip()
    hint = f"{error.context}" if error.problem and error.context else ""
    if "\\t" in message or "\t" in message:
        hint = "indent with spaces; YAML does not allow tabs"
    return _problem(file, lines, mark, message, hint)
