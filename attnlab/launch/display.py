"""What is seen of a sweep: a line after each job, or, on a terminal, bars that show every running job."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta

from attnlab.launch.job import Job


def expected_end(jobs: Sequence[Job], n_jobs: int, now: datetime) -> datetime | None:
    """When the sweep ends if the rest goes as what was done so far; None before anything is."""
    ran = [job for job in jobs if job.share and job.state in ("running", "done")]  # without a terminal none tells
    done = sum(job.share for job in ran)
    left = sum(1 - job.share for job in jobs if job.state in ("waiting", "running"))
    at_a_time = min(n_jobs, sum(job.state in ("waiting", "running") for job in jobs))
    if done < 0.02 or not at_a_time:
        return None
    return now + timedelta(seconds=left * sum(job.elapsed for job in ran) / done / at_a_time)


def tally(jobs: Sequence[Job], n_jobs: int) -> str:
    """`3 of 10 done, 1 failed, 6 to go, ends about 14:32:10`."""
    count = Counter(job.state for job in jobs)
    left = count["waiting"] + count["running"]
    done = count["done"] + count["recorded"] + count["double"]
    text = f"{done} of {len(jobs)} done, {count['failed']} failed, {left} to go"
    now = datetime.now()
    end = expected_end(jobs, n_jobs, now)
    if left and end:
        text += f", ends about {end:%H:%M:%S}" + (f" on {end:%a %d %b}" if end.date() != now.date() else "")
    return text


class Lines:
    """A line after each job: for logs."""

    watches = False

    def __init__(self, jobs: Sequence[Job], n_jobs: int) -> None:
        self.jobs, self.n_jobs = jobs, n_jobs

    def show(self, lines: Sequence[str]) -> None:
        """Nothing: jobs print by themselves."""

    def ended(self, job: Job) -> None:
        print(f"sweep: {tally(self.jobs, self.n_jobs)}", flush=True)

    def close(self) -> None:
        """Nothing to take away."""


class Bars:
    """Bars at the foot of the terminal, one for the sweep and one a running job; what jobs print goes above."""

    watches = True

    def __init__(self, jobs: Sequence[Job], n_jobs: int) -> None:
        from rich.progress import BarColumn, Progress, TaskID, TextColumn
        from rich.table import Column

        self.jobs, self.n_jobs = jobs, n_jobs
        # Not rich's own refreshing: a thread in the launcher would be forked into every job.
        # Nor its redirection: the jobs would inherit it.
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
        """Print `lines` above the bars, and draw them anew."""
        if lines:
            from rich.text import Text

            text = Text.from_ansi("\n".join(line.rsplit("\r", 1)[-1] for line in lines))
            self.bars.console.print(text, soft_wrap=True)
        for job in self.jobs:
            if job.state == "running":
                if job.number not in self.running:
                    self.running[job.number] = self.bars.add_task(job.title, total=1.0, note="")
                note = f"{100 * job.share:3.0f} %  {job.rate:,.0f} images/s" if job.share else "starts"
                self.bars.update(self.running[job.number], completed=job.share, note=note)
            elif job.number in self.running:
                self.bars.remove_task(self.running.pop(job.number))
        over = [job for job in self.jobs if job.state not in ("waiting", "running")]
        self.bars.update(
            self.sweep,
            completed=len(over) + sum(job.share for job in self.jobs if job.state == "running"),
            note=tally(self.jobs, self.n_jobs),
        )
        self.bars.refresh()

    def ended(self, job: Job) -> None:
        self.show([])

    def close(self) -> None:
        """Leave the last state of the sweep's bar, and give the terminal back."""
        self.show([])
        self.bars.stop()
