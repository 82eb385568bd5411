"""The programs of one appliance in virtual time: mailboxes, waits, and debts.

Most effects cost microseconds to milliseconds and nobody outside can see them: their durations
are added up as the program's *debt* and paid in one piece, before a wait or, once it exceeds
`RESOLUTION_S`, before the next effect that can be seen from outside (a message, an event). So
an appliance-day costs tens of simpy events rather than hundreds, and events are stamped with
that resolution; the appliance's own clock is exact. A power cut that falls into a debt strikes
at the effect reached by then: it is never in the middle of an effect here.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, ClassVar

from harness.errors import EngineError, HarnessError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    import simpy

    from harness.appliance import effect as fx

WAIT = object()  # what a handler answers when the program has to wait
RESOLUTION_S = 0.1
INBOX_MAX = 1024


class Running:
    """A program and its mailbox. `wait` numbers its waits, so that late timers are ignored."""

    __slots__ = ("debt_s", "generator", "mailbox", "name", "receiving", "wait")

    def __init__(self, name: str, generator: Generator[fx.Effect, Any, None]) -> None:
        self.name = name
        self.generator = generator
        self.mailbox: deque[object] = deque(maxlen=INBOX_MAX)
        self.receiving = False
        self.wait = 0
        self.debt_s = 0.0


class Programs:
    """Runs generators on a simpy clock; `handlers` says what each effect means."""

    handlers: ClassVar[Mapping[type[fx.Effect], Callable[[Any, Running, Any], Any]]] = {}

    def __init__(self, env: simpy.Environment) -> None:
        self.env = env
        self.effects = 0
        self._programs: dict[str, Running] = {}
        self._ready: deque[tuple[Running, Any, HarnessError | None]] = deque()
        self._advancing = False

    def _start(self, name: str, generator: Generator[fx.Effect, Any, None]) -> None:
        self._launch(name, generator)
        if not self._advancing:
            self._drain()

    def _drop_all(self) -> None:
        """Power is gone, or a reboot: no program finishes its sentence."""
        programs, self._programs = self._programs, {}
        for program in programs.values():
            program.wait += 1
            program.receiving = False
            program.generator.close()
        self._ready.clear()

    def deliver(self, mailbox: str, message: object) -> None:
        program = self._programs.get(mailbox)
        if program is None:
            return
        program.mailbox.append(message)
        if program.receiving:
            self._resume(program, program.mailbox.popleft(), None)

    def _launch(self, name: str, generator: Generator[fx.Effect, Any, None]) -> None:
        previous = self._programs.get(name)
        if previous is not None:
            previous.wait += 1
            previous.receiving = False
            previous.generator.close()
        program = Running(name, generator)
        self._programs[name] = program
        self._ready.append((program, None, None))

    def _resume(self, program: Running, value: Any, error: HarnessError | None) -> None:
        """Go on with a program that waited, now or when the one that runs has to wait."""
        program.wait += 1
        program.receiving = False
        self._ready.append((program, value, error))
        if not self._advancing:
            self._drain()

    def _drain(self) -> None:
        self._advancing = True
        try:
            ready = self._ready
            while ready:
                program, value, error = ready.popleft()
                if self._programs.get(program.name) is program:
                    self._advance(program, value, error)
        finally:
            self._advancing = False

    def _advance(self, program: Running, value: Any, error: HarnessError | None) -> None:
        """Run one program until it has to wait."""
        send = program.generator.send
        interpret = self.handlers.get
        while True:
            try:
                if error is None:
                    request = send(value)
                else:
                    request, error = program.generator.throw(error), None
            except StopIteration:
                if self._programs.get(program.name) is program:
                    del self._programs[program.name]
                return
            self.effects += 1
            handler = interpret(request.__class__)
            if handler is None:
                raise EngineError(f"no interpretation of {request!r}")
            try:
                value = handler(self, program, request)
            except HarnessError as problem:
                error = problem
                continue
            if value is WAIT:
                return

    def _after(self, delay_s: float, act: Callable[[], None]) -> None:
        self.env.timeout(delay_s).callbacks.append(lambda _event: act())

    def _wait(
        self, program: Running, delay_s: float, value: Any = None, error: HarnessError | None = None
    ) -> object:
        """Resume `program` after `delay_s` and its debt, unless something else did before."""
        delay_s += program.debt_s
        program.debt_s = 0.0
        program.wait += 1
        number = program.wait

        def due(_event: object) -> None:
            if program.wait == number:
                self._resume(program, value, error)

        self.env.timeout(delay_s).callbacks.append(due)
        return WAIT

    def _again(self, program: Running, request: fx.Effect) -> object | None:
        """Pay the debt before `request` is interpreted. None when it is too small to matter."""
        if program.debt_s < RESOLUTION_S:
            return None
        number = program.wait = program.wait + 1
        debt_s, program.debt_s = program.debt_s, 0.0

        def due(_event: object) -> None:
            if program.wait != number:
                return
            error: HarnessError | None = None
            value: Any = None
            try:
                value = self.handlers[request.__class__](self, program, request)
            except HarnessError as problem:
                error = problem
            if value is not WAIT:
                self._resume(program, value, error)

        self.env.timeout(debt_s).callbacks.append(due)
        return WAIT
