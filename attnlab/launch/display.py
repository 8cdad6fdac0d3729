"""The display of a sweep: a line after each job, or, on a terminal, a progress bar for every running job."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta

from attnlab.launch.job import Job


def expected_end(jobs: Sequence[Job], n_jobs: int, now: datetime) -> datetime | None:
    """When the sweep ends at the mean speed so far; None before 2 % of a job are done."""
    # Jobs report their share on a terminal only; elsewhere the jobs that have ended count.
    ran = [job for job in jobs if job.share and job.state in ("running", "done")]
    done = sum(job.share for job in ran)
    left = sum(1 - job.share for job in jobs if job.state in ("waiting", "running"))
    at_a_time = min(n_jobs, sum(job.state in ("waiting", "running") for job in jobs))
    if done < 0.02 or not at_a_time:
        return None
    return now + timedelta(seconds=left * sum(job.elapsed for job in ran) / done / at_a_time)


def tally(jobs: Sequence[Job], n_jobs: int) -> str:
    """`3 of 10 done, 1 failed, 6 to go, ends about 14:32:10`."""
    return ", ".join(filter(None, [counts(jobs), end(jobs, n_jobs)]))


def counts(jobs: Sequence[Job]) -> str:
    """`3 of 10 done, 1 failed, 6 to go`."""
    count = Counter(job.state for job in jobs)
    done = count["done"] + count["recorded"] + count["double"]
    return f"{done} of {len(jobs)} done, {count['failed']} failed, {count['waiting'] + count['running']} to go"


def end(jobs: Sequence[Job], n_jobs: int) -> str:
    """`ends about 14:32:10`; empty where all jobs have ended, or it is not known yet."""
    now = datetime.now()
    expected = expected_end(jobs, n_jobs, now)
    if expected is None:
        return ""
    return f"ends about {expected:%H:%M:%S}" + (f" on {expected:%a %d %b}" if expected.date() != now.date() else "")


class Lines:
    """Prints a line after each job, for logs. tally: False prints none; a search has lines of its own."""

    captures = False  # jobs print to the launcher's stdout themselves

    def __init__(self, jobs: Sequence[Job], n_jobs: int, *, tally: bool = True) -> None:
        self.jobs, self.n_jobs, self.tally = jobs, n_jobs, tally

    def show(self, lines: Sequence[str]) -> None:
        """Nothing: jobs print themselves."""

    def ended(self, job: Job) -> None:
        if self.tally:
            print(f"sweep: {tally(self.jobs, self.n_jobs)}", flush=True)

    def close(self) -> None:
        """Nothing: there are no bars to remove."""


class Bars:
    """Draws a bar for the sweep and one for each running job at the foot of the terminal; job output goes above."""

    captures = True  # jobs print into pipes, and report their progress

    def __init__(self, jobs: Sequence[Job], n_jobs: int) -> None:
        from rich.progress import BarColumn, Progress, TaskID, TextColumn
        from rich.table import Column

        self.jobs, self.n_jobs = jobs, n_jobs
        # No auto_refresh: its thread would be forked into every job. No redirection: the jobs would inherit it.
        self.bars = Progress(
            TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, ratio=2)),
            BarColumn(bar_width=None, table_column=Column(ratio=1)),
            TextColumn("{task.fields[note]}", markup=False, table_column=Column(no_wrap=True)),
            auto_refresh=False, redirect_stdout=False, redirect_stderr=False, expand=True,
        )  # fmt: skip
        self.running: dict[int, TaskID] = {}
        self.sweep = self.bars.add_task("sweep", total=len(jobs), note="")
        self.bars.start()

    def show(self, lines: Sequence[str]) -> None:
        """Print `lines` above the bars and redraw the bars."""
        if lines:
            from rich.text import Text

            text = Text.from_ansi("\n".join(line.rsplit("\r", 1)[-1] for line in lines))
            self.bars.console.print(text, soft_wrap=True)
        for job in self.jobs:
            if job.state == "running":
                if job.number not in self.running:
                    self.running[job.number] = self.bars.add_task(
                        f"#{job.number} {job.name} {job.id}", total=1.0, note=""
                    )
                note = f"{100 * job.share:3.0f} %  {job.rate:,.0f} images/s" if job.share else "starts"
                self.bars.update(self.running[job.number], completed=job.share, note=note)
            elif job.number in self.running:
                self.bars.remove_task(self.running.pop(job.number))
        over = [job for job in self.jobs if job.state not in ("waiting", "running")]
        self.bars.update(
            self.sweep,
            completed=len(over) + sum(job.share for job in self.jobs if job.state == "running"),
            description=f"sweep {counts(self.jobs)}",
            note=end(self.jobs, self.n_jobs),
        )
        self.bars.refresh()

    def ended(self, job: Job) -> None:
        self.show([])

    def close(self) -> None:
        """Draw the sweep's bar a last time and release the terminal."""
        self.show([])
        self.bars.stop()
