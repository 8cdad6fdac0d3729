"""The plan of a sweep: every job composed and checked before the first one starts, recorded runs left out."""

import copy
import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from hydra.core.utils import JobReturn, JobStatus, filter_overrides, setup_globals
from hydra.types import HydraContext
from omegaconf import DictConfig, open_dict

from attnlab.configuration.compose import check
from attnlab.configuration.held_out import check_held_out
from attnlab.configuration.identity import run_id
from attnlab.configuration.replaced_nodes import spelled_out
from attnlab.configuration.run_name import title_of, trial_name
from attnlab.configuration.sweep_arguments import Composed, compose_jobs, left_out
from attnlab.launch.dry_run import DryRun, note
from attnlab.launch.expected_time import SOURCE, Estimate
from attnlab.launch.job import Job, reasons_of
from attnlab.launch.objective import Value, value_of
from attnlab.records.provenance import doubts, doubts_and_remedies, read_made_by, recorded_line
from attnlab.records.record import is_recorded, read_record
from attnlab.tables.progress import duration


class Plan:
    """The jobs of one sweep with their states, and the report of how they ended.

    first: the number of the first job.  searched: keys of which a search draws the values; None: it is no search, whose
    ends are reported here.

    Raises ConfigError, before anything runs, for a job whose config cannot be composed or has a wrong value.
    """

    def __init__(
        self,
        context: HydraContext,
        config: DictConfig,
        job_overrides: Sequence[Sequence[str]],
        first: int = 0,
        searched: Sequence[str] | None = None,
    ) -> None:
        setup_globals()
        composed = compose_jobs(
            lambda overrides: context.config_loader.load_sweep_config(config, spelled_out(overrides)), job_overrides
        )
        self.jobs = [_make_job(number, job) for number, job in enumerate(composed, first)]
        if line := left_out(composed):
            print(line, flush=True)
        self.searched = searched
        if searched is not None:
            for job in self.jobs:
                job.differs = trial_name(job.values, job.overrides, searched).split()
        elif len(self.jobs) > 1:
            common = set.intersection(*(set(job.overrides) for job in self.jobs))
            for job in self.jobs:
                job.differs = [override for override in filter_overrides(job.overrides) if override not in common]
        self._skip_known_runs(dry_run=config.dry_run)
        #: one line for each reason for which recorded runs are neither accepted nor run again
        self.refused = _refusals(self.jobs)
        for line in self.refused:
            print(f"attnlab: {line}", file=sys.stderr, flush=True)

    @property
    def waiting(self) -> list[Job]:
        """The jobs that are still to run."""
        return [job for job in self.jobs if job.state == "waiting"]

    @property
    def failed(self) -> bool:
        """Whether a job failed, or would, or its record was refused."""
        return any(job.state in ("failed", "other code", "would fail") for job in self.jobs)

    def _skip_known_runs(self, *, dry_run: bool) -> None:
        """Set the state of jobs that repeat another job or have a record."""
        first_of: dict[str, int] = {}
        for job in self.jobs:
            if job.id in first_of:
                job.state = "double"
                if not dry_run:
                    print(f"{job.title}: the same run as #{first_of[job.id]}, trained once", flush=True)
            elif _is_recorded(job):
                job.doubts = _doubts(job)
                job.state = "other code" if job.doubts else "recorded"
                if job.state == "recorded":
                    job.value = _recorded_value(job)
                    print(f"{title_of(job.name, job.id)}: {recorded_line(job.values)}", flush=True)
            first_of.setdefault(job.id, job.number)

    def print_jobs(self, seconds_of: Estimate = lambda values: None, n_jobs: int = 1) -> None:
        """Print the state of every job, and how long the waiting ones take if that is known: what `dry_run=true` shows.

        seconds_of: of expected_time.estimate;  n_jobs: jobs at a time.
        """
        check = DryRun()
        for job in self.waiting:
            if fault := check.fault(job.values):
                job.state, job.reason = "would fail", fault
        for job in self.jobs:
            state, more = ("would run", note(job.values)) if job.state == "waiting" else (job.state, "")
            print(f"{state:9} {job.title}{more}")
        seconds = [seconds_of(job.values) for job in self.waiting]
        known = [each for each in seconds if each is not None]
        time = f", about {duration(sum(known) / n_jobs)} {SOURCE}" if known and len(known) == len(seconds) else ""
        print(f"dry run: {len(self.jobs)} jobs, {len(self.waiting)} would run{time}", flush=True)
        for line in reasons_of(job for job in self.jobs if job.state == "would fail"):
            print(f"attnlab: {line.strip()}", file=sys.stderr, flush=True)

    def print_summary(self) -> None:
        """Print the failed and unfinished jobs, when there are any; a search prints those of all its batches itself."""
        for job in self.jobs:  # another launcher may have finished the run meanwhile
            if job.state == "failed" and _is_recorded(job):
                job.state, job.value = "recorded", _recorded_value(job)
        failed = [job for job in self.jobs if job.state == "failed"]
        left = sum(job.state in ("waiting", "running") for job in self.jobs)
        if (failed or left) and self.searched is None:
            summary = f"attnlab: {len(failed)} failed, {left} not finished; the same command runs them"
            print(summary, *reasons_of(failed), sep="\n", file=sys.stderr, flush=True)

    def returned(self) -> Sequence[JobReturn]:
        """Every job as Hydra's sweepers want it.

        A recorded job has the value of its record, and a job that repeats another one has the value of that one. Failed
        jobs are COMPLETED, too, with the value None: for FAILED ones Hydra would raise the first error and print
        a line of its own.
        """
        values = {job.id: job.value for job in self.jobs if job.value is not None}
        return [
            JobReturn(
                overrides=job.overrides, cfg=job.config, working_dir=os.getcwd(), task_name="run",
                status=JobStatus.COMPLETED, _return_value=values.get(job.id),
            )
            for job in self.jobs
        ]  # fmt: skip


def _make_job(number: int, composed: Composed) -> Job:
    config = composed.config
    with open_dict(config):
        config.hydra.job.id, config.hydra.job.num = str(number), number
    own = copy.deepcopy(config)
    with open_dict(own):
        del own["hydra"]
    values = check(own)
    check_held_out(values)
    read_made_by(values)  # before the first fork: code that is edited later is noticed, not run
    return Job(number, composed.overrides, config, run_id(values), values)


def _is_recorded(job: Job) -> bool:
    return not job.values["force"] and is_recorded(Path(job.values["output_dir"]) / job.id)


def _recorded_value(job: Job) -> Value | None:
    record = read_record(Path(job.values["output_dir"]) / job.id)
    return value_of(record, job.values.get("objective")) if record else None


def _doubts(job: Job) -> list[str]:
    """Why the job's record may not be what its config gives today; code=recorded accepts every record."""
    if job.values["code"] == "recorded":
        return []
    folder = Path(job.values["output_dir"])
    return doubts(read_record(folder / job.id) or {}, folder)


def _refusals(jobs: Sequence[Job]) -> list[str]:
    """One line for each reason for which recorded runs are refused, with the number of runs."""
    counted = Counter(doubt for job in jobs for doubt in job.doubts)
    return [f"{n} run{'s are' if n > 1 else ' is'} {doubts_and_remedies([doubt])}" for doubt, n in counted.items()]
