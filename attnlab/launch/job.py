"""One job of a sweep: a process forked from the launcher, which reports to the launcher through a pipe."""

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from omegaconf import DictConfig

from attnlab.configuration.compose import Checked
from attnlab.configuration.run_name import MOST_LISTED, run_name
from attnlab.launch.objective import Value
from attnlab.launch.one_run import failure_of
from attnlab.machine import terminal
from attnlab.machine.processes import INTERRUPTED, STOPS, die_with

BROKEN_PIPE = 128 + signal.SIGPIPE  # exit status of a job whose output nobody reads
LAST_READS = 64  # reads of an ended job's pipes, at most: far more than a pipe holds

Report = Callable[..., None]  # sends keyword arguments to the launcher: share, rate, value, error, printed


class Pipe:
    """The reading end of a pipe, read in complete lines and without waiting."""

    def __init__(self, reader: int) -> None:
        os.set_blocking(reader, False)
        self.reader, self.open = reader, True
        self._rest = b""

    def lines(self) -> list[str]:
        """Lines that arrived since the last call, from at most 64 KiB. An unfinished last line waits until it is
        finished, or until the writer closes the pipe."""
        if self.open:
            try:
                read = os.read(self.reader, 1 << 16)
            except BlockingIOError:
                return []
            if not read:
                self.close()
            self._rest += read
        *lines, self._rest = self._rest.split(b"\n")
        if not self.open and self._rest:
            lines, self._rest = [*lines, self._rest], b""
        return [line.decode(errors="replace") for line in lines]

    def close(self) -> None:
        """Stop reading."""
        if self.open:
            os.close(self.reader)
            self.open = False


@dataclass
class Job:
    """One job of a sweep.

    state: waiting, running, done, failed, recorded, other code (its record was made by other code) or double (it
    repeats another job's run);  values: its checked config;  doubts: why its record may not be what the config gives
    today;  differs: the overrides in which it differs from the other jobs;  value: of its objective;
    reason: why it failed;  printed_reason: whether the job printed it itself;  share: of its training, 0 to 1, and
    rate: images per second, both reported on a terminal only;  reports: the pipe of what it reports;  output: the pipe
    of what it prints, None where it prints to the launcher's stdout.
    """

    number: int
    overrides: list[str]
    config: DictConfig
    id: str
    values: Checked = field(default_factory=Checked)
    doubts: list[str] = field(default_factory=list)
    differs: list[str] = field(default_factory=list)
    state: str = "waiting"
    value: Value | None = None
    reason: str = ""
    printed_reason: bool = False
    share: float = 0.0
    rate: float = 0.0
    pid: int = 0
    started: float = 0.0
    seconds: float = 0.0
    reports: Pipe | None = None
    output: Pipe | None = None
    _reported: dict[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        return f"#{self.number} {self.id} {self.name}"

    @property
    def name(self) -> str:
        """What makes it differ from the other jobs; of a single job, its attention, model, dataset and seed."""
        return " ".join(self.differs) or (run_name(self.values) if self.values else "")

    @property
    def elapsed(self) -> float:
        """Seconds from its start until now, or until its end."""
        return time.monotonic() - self.started if self.state == "running" else self.seconds

    def fork(self, work: Callable[["Job", Report], Value | None], *, capture: bool) -> None:
        """Run `work(self, report)` in a new process. capture: it prints into `output`, not to the terminal."""
        sys.stdout.flush()
        sys.stderr.flush()
        reports, report_to = os.pipe()
        output, print_to = os.pipe() if capture else (-1, -1)
        launcher = os.getpid()
        self.started, self.state = time.monotonic(), "running"
        # A signal between the fork and _live would run the launcher's handler in the job.
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
        self.pid = os.fork()
        if not self.pid:
            self._live(work, report_to, print_to, launcher)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
        os.close(report_to)
        self.reports = Pipe(reports)
        if capture:
            os.close(print_to)
            self.output = Pipe(output)

    def _live(
        self, work: Callable[["Job", Report], Value | None], report_to: int, print_to: int, launcher: int
    ) -> None:
        """The job's life in its own process, from fork to exit. Does not return."""

        def report(**content: Any) -> None:
            os.write(report_to, json.dumps(content).encode() + b"\n")

        code = 1
        try:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
            die_with(launcher)
            if print_to >= 0:
                _redirect_output(print_to)
            report(value=work(self, report))
            code = 0
        except KeyboardInterrupt:
            code = INTERRUPTED
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
        except BrokenPipeError:
            code = BROKEN_PIPE
        except Exception as error:
            with suppress(OSError):
                report(error=failure_of(error))
        finally:  # whatever happens, the job must not go on as a second launcher
            try:
                sys.stdout.flush()
                sys.stderr.flush()
            finally:
                os._exit(code)

    def read(self) -> list[str]:
        """Take in what the job reported; return the lines that it printed."""
        if self.reports:
            for line in self.reports.lines():
                self._reported |= json.loads(line)
        self.share, self.rate = self._reported.get("share", self.share), self._reported.get("rate", self.rate)
        return self.output.lines() if self.output else []

    def end(self, status: int, *, stopping: bool = False) -> list[str]:
        """Set the state after the process has ended with `status` (of os.wait); return the last lines it printed.

        stopping: the launcher stopped it, so it waits for the next sweep.
        """
        printed: list[str] = []
        for _ in range(LAST_READS):
            if not (more := self.read()):
                break
            printed += more
        for pipe in (self.reports, self.output):
            if pipe:
                pipe.close()  # a process that the job left behind may hold the other end
        self.seconds = time.monotonic() - self.started
        code = os.waitstatus_to_exitcode(status)
        if code == 0:
            self.state, self.value, self.share = "done", self._reported.get("value"), 1.0
        elif stopping:
            self.state = "waiting"
        else:
            self.state, self.reason = "failed", self._reported.get("error") or _how_it_ended(code)
            self.printed_reason = self._reported.get("printed", False)
        return printed


def reasons_of(jobs: Iterable[Job]) -> list[str]:
    """A line for each reason why jobs failed, with the job, or with the number of jobs where several failed alike."""
    alike: dict[str, list[Job]] = {}
    for job in jobs:
        alike.setdefault(job.reason, []).append(job)
    return [f"  {_called(those)}: {reason}" for reason, those in alike.items()]


def _called(jobs: Sequence[Job]) -> str:
    numbers = [f"#{job.number}" for job in jobs]
    more = [f"and {len(numbers) - MOST_LISTED} more"] if len(numbers) > MOST_LISTED else []
    return jobs[0].title if len(jobs) == 1 else f"{len(jobs)} jobs ({', '.join([*numbers[:MOST_LISTED], *more])})"


def _how_it_ended(code: int) -> str:
    if code == INTERRUPTED:
        return "interrupted; the same command goes on from its last checkpoint"
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit {code}"


def _redirect_output(print_to: int) -> None:
    """Send what the job prints into the pipe; stderr only when it is the terminal, not a log file.

    COLUMNS then tells the job how wide the terminal is, where its launcher shows the lines.
    """
    if columns := terminal.width():
        os.environ[terminal.COLUMNS] = str(columns)
    os.dup2(print_to, 1)
    if sys.stderr.isatty():
        os.dup2(print_to, 2)
