"""What is wrong in a file, where, and what would be right: all of it, in one go."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

EXCERPT_COLUMNS = 140  # a longer source line is shown around the column in question
ALLOWED_LISTED_MAX = 16  # names listed in a hint
PROBLEMS_MAX = 50  # more than this says nothing new to a reader


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake at `line` and `column` (both from 1) of `file`; `source` is that line."""

    file: str
    line: int
    column: int
    message: str
    hint: str = ""
    source: str = ""

    def __str__(self) -> str:
        lines = [f"{self.file}:{self.line}:{self.column}: {self.message}"]
        if self.source.strip():
            text, column = _excerpt(self.source, self.column)
            lines += [f"    {text}", f"    {' ' * (column - 1)}^"]
        if self.hint:
            lines.append(f"    hint: {self.hint}")
        return "\n".join(lines)


class FileInvalid(InputError):
    """A file of the user's is wrong; `problems` holds every mistake, in file order."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        ordered = sorted(set(problems), key=lambda p: (p.file, p.line, p.column, p.message))
        self.problems = tuple(ordered)
        shown = [str(problem) for problem in ordered[:PROBLEMS_MAX]]
        if len(ordered) > PROBLEMS_MAX:
            shown.append(f"... and {len(ordered) - PROBLEMS_MAX} more")
        count = f"{len(ordered)} problem{'' if len(ordered) == 1 else 's'}"
        super().__init__("\n".join(shown), hint=f"{count} to mend; {self.advice}")

    advice = "`harness schema` prints what such a file may hold"


class ScenarioInvalid(FileInvalid):
    """A scenario, or a profile that it names, is wrong."""

    advice = "`harness schema scenario` prints what a scenario may hold"


def did_you_mean(name: str, known: Iterable[str], *, what: str = "known") -> str:
    """A hint for a misspelt name: the closest one, else what there is."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f"did you mean `{close[0]}`?"
    return f"{what}: {listing(names)}" if names else f"there is none ({what})"


def listing(names: Sequence[str]) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:ALLOWED_LISTED_MAX])
    return shown + (", ..." if len(names) > ALLOWED_LISTED_MAX else "")


def _excerpt(source: str, column: int) -> tuple[str, int]:
    """The part of a line that holds `column`, and that column within it."""
    text = source.replace("\t", " ").rstrip()
    if len(text) <= EXCERPT_COLUMNS:
        return text, column
    start = max(0, min(column - 1 - EXCERPT_COLUMNS // 2, len(text) - EXCERPT_COLUMNS))
    cut = text[start : start + EXCERPT_COLUMNS]
    return ("..." + cut if start else cut), column - start + (3 if start else 0)
