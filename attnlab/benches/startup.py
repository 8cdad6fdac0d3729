"""From launch to the end of the first training step: a further job of a sweep, against a cold `python -m attnlab.run`.

In every round both are started anew: one run by itself, timed from before its interpreter starts; and a sweep of JOBS
jobs, of which each but the first is timed from before its fork. One device, one job at a time; csv as the tracker and
400 images, so that starting is what is timed. The dataset's cache is warm, and so is that of compiled Python, which is
kept in a folder of its own: where PYTHONDONTWRITEBYTECODE is set, as in many containers, a cold run would compile every
module again and look slower than it is elsewhere.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from attnlab.benches.report import Report, Row
from attnlab.benches.setting import Asked, describe, setting
from attnlab.benches.timing import in_turn
from attnlab.errors import AttnlabError
from attnlab.marks import FILE, read_marks

DEFAULTS = (
    "model=resnet8", "tracker=csv", "dataset.train_size=400", "dataset.test_size=100", "recipe.steps=1",
    "recipe.validation.images=0",
)  # fmt: skip
JOBS = 4


def overrides(asked: Asked) -> list[str]:
    """Those of the runs that are started: the defaults, and what the user named instead."""
    named = {override.partition("=")[0] for override in asked.overrides}
    attention = [f"attention={asked.attentions[0]}"] if asked.attentions else []
    return [*(d for d in DEFAULTS if d.partition("=")[0] not in named), *attention, *asked.overrides]


def environment(bytecode: str, marks: Path) -> dict[str, str]:
    """This process's, with a folder for compiled Python and a file for the marks."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"PYTHONPYCACHEPREFIX": bytecode, FILE: str(marks)}


def started(arguments: Sequence[str], bytecode: str) -> list[float]:
    """Run attnlab.run with these arguments; seconds from launch to first step of the run, or of each job of a sweep.

    bytecode: the folder for compiled Python. Raises AttnlabError with what it printed last when it failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        marks = Path(folder) / "marks"
        command = [sys.executable, "-m", "attnlab.run", *arguments, f"output_dir={folder}/outputs"]
        start = time.monotonic()
        done = subprocess.run(command, capture_output=True, text=True, env=environment(bytecode, marks))
        if done.returncode:
            last = (done.stderr or done.stdout).strip().splitlines()[-1:]
            raise AttnlabError(f"startup: {' '.join(arguments)} ended with {done.returncode}: {''.join(last)}")
        return since_launch(read_marks(marks), start)


def since_launch(marks: Sequence[tuple[float, int, str]], start: float) -> list[float]:
    """Seconds to the first step of each process, from the launch before it; `start`: that of a run that has none."""
    seconds, launched, seen = [], start, set()
    for moment, process, what in marks:
        if what == "launch":
            launched = moment
        elif process not in seen:
            seen.add(process)
            seconds.append(moment - launched)
    return seconds


def startup(asked: Asked) -> Report:
    """A further job over a cold run."""
    asked.values(*DEFAULTS)  # a wrong key is told before anything is started
    here = setting(asked.values(*DEFAULTS))
    runs = overrides(asked)
    seeds = "seed=" + ",".join(map(str, range(JOBS)))

    with tempfile.TemporaryDirectory() as bytecode:

        def cold() -> float:
            (seconds,) = started(runs, bytecode)
            return seconds

        def further() -> float:
            return median(started(["-m", *runs, seeds], bytecode)[1:])

        cold()  # fills the caches: of the dataset, of compiled Python, of the disk
        further()
        seconds = in_turn({"cold run": cold, "further job": further}, asked.repeats)
    row = Row("launch to first step", seconds, "further job", "cold run", "share", "<= 12.5 %", {"jobs a sweep": JOBS})
    return Report("startup", "a job of a sweep over a cold run, launch to first step", [row], describe(here))
