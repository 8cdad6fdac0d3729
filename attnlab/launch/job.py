"""One job of a sweep: a process forked from the warm launcher, and what it tells while it runs."""

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from omegaconf import DictConfig

from attnlab.configuration.secrets import hide
from attnlab.machine.processes import INTERRUPTED, STOPS, die_with
from attnlab.machine.ranks import on_lost

UNHEARD = 141  # as of a process that SIGPIPE killed
LAST_READS = 64  # of a job that ended: what a pipe holds, many times over


class Pipe:
    """The reading end of a pipe: whole lines, as they come, never waiting."""

    def __init__(self, reader: int) -> None:
        os.set_blocking(reader, False)
        self.reader, self.open = reader, True
        self._rest = b""

    def lines(self) -> list[str]:
        """What came since the last call, a part of it where it is much; an unfinished last line waits for its end, or
        for the writer's."""
        if self.open:
            try:
                read = os.read(self.reader, 1 << 16)
            except BlockingIOError:
                return []
            if not read:
                self.close()
            self._rest += read
        *whole, self._rest = self._rest.split(b"\n")
        if not self.open and self._rest:
            whole, self._rest = [*whole, self._rest], b""
        return [line.decode(errors="replace") for line in whole]

    def close(self) -> None:
        """Read no more."""
        if self.open:
            os.close(self.reader)
            self.open = False


@dataclass
class Job:
    """One job of a sweep; `state` is waiting, recorded, other code (recorded by it), double (of another), running, done
    or failed.

    values: the config, checked and plain;  doubts: why its record may not be what the config gives today;
    differs: the overrides by which it differs from the sweep's other jobs;
    share: of its training that is done, 0 to 1, and rate: images per second, told by the job itself on a terminal;
    words: the pipe it tells them by;  output: the pipe of what it prints, None where it prints by itself.
    """

    number: int
    overrides: list[str]
    config: DictConfig
    id: str
    values: dict[str, Any] = field(default_factory=dict)
    doubts: list[str] = field(default_factory=list)
    differs: list[str] = field(default_factory=list)
    state: str = "waiting"
    value: float | None = None
    reason: str = ""
    told: bool = False  # whether the job printed its reason itself
    elsewhere: str = ""  # why it failed on another rank, which ended it here
    share: float = 0.0
    rate: float = 0.0
    pid: int = 0
    started: float = 0.0
    seconds: float = 0.0
    words: Pipe | None = None
    output: Pipe | None = None
    _answers: dict[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        return f"#{self.number} {self.id} {' '.join(self.differs)}"

    @property
    def elapsed(self) -> float:
        """Seconds since its start, to its end once it has ended."""
        return time.monotonic() - self.started if self.state == "running" else self.seconds

    def fork(self, work: Callable[["Job"], Any], failures: list[str], *, watched: bool) -> None:
        """Run `work(self)` in a process of its own; `watched`: it prints into `output`, not to the terminal."""
        sys.stdout.flush()
        sys.stderr.flush()
        words, say = os.pipe()
        output, printed = os.pipe() if watched else (-1, -1)
        launcher = os.getpid()
        self.started, self.state = time.monotonic(), "running"
        # A signal that came between fork and _live would run the launcher's handler, in the job.
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
        self.pid = os.fork()
        if not self.pid:
            self._live(work, failures, say, printed, launcher)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
        os.close(say)
        self.words = Pipe(words)
        if watched:
            os.close(printed)
            self.output = Pipe(output)

    def _live(self, work: Callable[["Job"], Any], failures: list[str], say: int, printed: int, launcher: int) -> None:
        """The job's whole life in its own process; does not return."""

        def tell(**words: Any) -> None:
            os.write(say, json.dumps(words).encode() + b"\n")

        code = 1
        try:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
            die_with(launcher)
            if printed >= 0:
                watch(printed, tell)
            on_lost.append(lambda reason: tell(error=reason))
            value = work(self)
            tell(**({"error": failures[-1]} if failures else {"value": value}))
            code = 1 if failures else 0
        except KeyboardInterrupt:
            code = INTERRUPTED
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
        except BrokenPipeError:  # nobody reads what it prints
            code = UNHEARD
        except Exception as error:
            print(hide(traceback.format_exc()), end="", file=sys.stderr)
            with suppress(OSError):
                tell(error=hide(f"{type(error).__name__}: {error}"))
        finally:  # whatever happens, the job must not go on as a second launcher
            try:
                sys.stdout.flush()
                sys.stderr.flush()
            finally:
                os._exit(code)

    def listen(self) -> list[str]:
        """Take in what the job told; return the lines it printed."""
        if self.words:
            for line in self.words.lines():
                self._answers |= json.loads(line)
        self.share, self.rate = self._answers.get("share", self.share), self._answers.get("rate", self.rate)
        return self.output.lines() if self.output else []

    def end(self, status: int, *, stopping: bool = False) -> list[str]:
        """The process is gone with `status`, of os.wait: say how it ended; return the last lines it printed.

        stopping: the launcher asked it to.
        """
        printed: list[str] = []
        for _ in range(LAST_READS):
            if not (more := self.listen()):
                break
            printed += more
        for pipe in (self.words, self.output):
            if pipe:
                pipe.close()  # a process that the job left behind may hold the other end
        self.seconds = time.monotonic() - self.started
        code = os.waitstatus_to_exitcode(status)
        if code == 0:
            self.state, self.value, self.share = "done", self._answers.get("value"), 1.0
        elif stopping:
            self.state = "waiting"
        else:
            self.state, self.told = "failed", "error" in self._answers
            killed = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit {code}"
            if code == INTERRUPTED:
                killed = "interrupted; the same command goes on from its last checkpoint"
            self.reason = self.elsewhere or self._answers.get("error") or killed
        return printed


def watch(printed: int, tell: Callable[..., None]) -> None:
    """In a job on a terminal: print into the pipe `printed`, and tell how far the training is."""
    os.dup2(printed, 1)
    if sys.stderr.isatty():  # a log that stderr was sent to stays where it is
        os.dup2(printed, 2)
    from attnlab.training import progress_bar

    progress_bar.listener = lambda share, rate: tell(share=share, rate=rate)
