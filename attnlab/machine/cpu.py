"""The CPU: cores, memory, matrix units, and how many jobs run on it at a time. Imports no torch."""

import os
from contextlib import suppress
from pathlib import Path

#: bytes of memory that n_jobs=null counts for one job on a CPU. Of the tracked records, no ResNet-8 or ResNet-20 on
#: 32 px images has a higher peak.
JOB_MEMORY = 2 * 2**30
PROC, CGROUP = Path("/proc"), Path("/sys/fs/cgroup")


def wait_passively() -> None:
    """Make idle OpenMP threads sleep instead of spin, unless the environment has OMP_WAIT_POLICY already.

    OpenMP reads the variable when it is loaded, so this must be called before torch is imported. Threads that spin
    while one of them waits for a core take the cores of other programs, and of each other.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def cores() -> int:
    """Number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def spare_cores() -> int:
    """Cores that a run of one process on a CPU leaves to other programs: one; none in a Slurm job, which owns its
    cores."""
    return 0 if "SLURM_JOB_ID" in os.environ else 1


def jobs_at_a_time(cores_a_job: int) -> int:
    """How many jobs run on this CPU at a time: as many as its cores and its available memory suffice for, or 1."""
    by_cores, memory = cores() // cores_a_job, available_memory()
    return max(1, by_cores if memory is None else min(by_cores, memory // JOB_MEMORY))


def available_memory() -> int | None:
    """Bytes that new processes can have without swapping, at most the limit of this container; None if not known."""
    found = []
    with suppress(OSError, StopIteration, ValueError):
        lines = (PROC / "meminfo").read_text().splitlines()
        found.append(1024 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")))
    with suppress(OSError, ValueError):  # `max`: no limit
        found.append(int((CGROUP / "memory.max").read_text()))
    return min(found, default=None)


def runnable_threads() -> int | None:
    """How many threads of all programs run or wait for a core at this moment; None if not known."""
    with suppress(OSError, IndexError, ValueError):
        return int((PROC / "loadavg").read_text().split()[3].partition("/")[0])
    return None


def matrix_units() -> str:
    """What multiplies bfloat16 on this CPU: AMX, AVX512-BF16, or an empty text."""
    flags = ""
    with suppress(OSError):
        flags = (PROC / "cpuinfo").read_text()
    return "AMX" if "amx_bf16" in flags else "AVX512-BF16" if "avx512_bf16" in flags else ""
