"""The machine a run trains on: device, precision, threads, memory. None of it is part of a run's id."""

import ctypes
import os
import platform
import re
import resource
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import nn

from attnlab.errors import ConfigError
from attnlab.machine import cpu
from attnlab.machine.cpu import cores
from attnlab.machine.gpus import shared_by


def cpu_has_bf16() -> bool:
    """Whether the CPU multiplies matrices in bfloat16 (AMX, or AVX512-BF16)."""
    return bool(cpu.matrix_units())


def accelerator(machine: Mapping[str, Any]) -> str:
    """The device kind that machine.accelerator selects: cpu, gpu (CUDA) or mps; auto = gpu when there is one.

    Raises ConfigError for a kind that this machine does not have.
    """
    wanted = machine["accelerator"]
    has_gpu = torch.cuda.is_available()
    if wanted in ("gpu", "cuda") and not has_gpu:
        raise ConfigError(f"machine.accelerator={wanted}: torch sees no GPU here; allowed are auto, cpu")
    if wanted == "mps" and not torch.backends.mps.is_available():
        raise ConfigError("machine.accelerator=mps: torch sees no Apple GPU here; allowed are auto, cpu")
    if wanted == "auto":
        return "gpu" if has_gpu else "cpu"
    return "gpu" if wanted == "cuda" else str(wanted)


def check_devices(machine: Mapping[str, Any]) -> None:
    """Raise ConfigError for devices that this machine does not have."""
    devices, kind = machine["devices"], accelerator(machine)
    if machine.get("sync_batchnorm") and kind == "cpu":
        raise ConfigError(
            "wrong value machine.sync_batchnorm=true; allowed on GPUs only; torch has no such layer for a CPU"
        )
    if devices == "auto":
        return
    if kind == "cpu":
        count = os.cpu_count() or 1
        if isinstance(devices, list) or devices > count:
            raise ConfigError(
                f"wrong value machine.devices={devices}; allowed on this machine's CPU is 1 to {count} processes"
            )
        return
    count = torch.cuda.device_count() if kind == "gpu" else 1
    if isinstance(devices, list):
        if not all(number in range(count) for number in devices):
            numbers = f"GPU numbers from 0 to {count - 1}"
            raise ConfigError(f"wrong value machine.devices={devices}; allowed on this machine are {numbers}")
    elif devices > count:
        raise ConfigError(f"wrong value machine.devices={devices}; allowed on this machine is 1 to {count} GPUs")


def rank_count(machine: Mapping[str, Any]) -> int:
    """Number of a run's processes on this machine, one a device."""
    devices = machine["devices"]
    if isinstance(devices, list):
        return len(devices)
    if devices == "auto":
        return max(1, torch.cuda.device_count()) if accelerator(machine) == "gpu" else 1
    return int(devices)


def several(machine: Mapping[str, Any]) -> bool:
    """Whether a run has more than one process, on all machines together."""
    return rank_count(machine) * (machine.get("nodes") or 1) > 1


def batch_statistics(net: nn.Module, machine: Mapping[str, Any]) -> str:
    """The images over which BN takes its mean and variance in training, for the record: `batch`, all of the batch;
    `rank`, each process's part of the batch, which gives other results; `none` without BN."""
    if not any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in net.modules()):
        return "none"
    return "rank" if several(machine) and not machine.get("sync_batchnorm") else "batch"


def too_little_memory(values: Mapping[str, Any], error: Exception) -> str:
    """The message for a GPU that has run out of memory: how much was missing, and the keys that reduce it."""
    missing = re.search(r"Tried to allocate ([\d.]+ \w+)", str(error))
    runs = shared_by(values.get("runs_per_gpu"))
    shared = f"runs_per_gpu={runs}: fewer, or " if runs > 1 else ""
    return (
        f"the GPU has too little memory left{f' ({missing[1]} more were needed)' if missing else ''}; "
        f"{shared}recipe.batch_size={values['recipe']['batch_size']}: a smaller one, or more machine.devices"
    )


def share(machine: Mapping[str, Any], key: str) -> int:
    """machine.threads or machine.workers of one rank; null = this job's cores divided by its ranks.

    The threads of a run of one process on a CPU are one less than the cores: as many threads as cores become many times
    slower when one other program is busy.
    """
    if (given := machine.get(key)) is not None:
        return int(given)
    ranks = rank_count(machine)
    spare = cpu.spare_cores() if key == "threads" and ranks == 1 and accelerator(machine) == "cpu" else 0
    return max(1, (cores() - spare) // ranks)


def set_threads(machine: Mapping[str, Any]) -> None:
    """Set torch's number of CPU threads: machine.threads, else OMP_NUM_THREADS, else this rank's share of the cores.

    More threads than cores, over all processes, make every process slower.
    """
    if machine["threads"] is not None or "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(share(machine, "threads"))


def keep_memory(machine: Mapping[str, Any]) -> None:
    """On a CPU, reuse the memory of freed feature maps (glibc's mallopt; no effect with another C library).

    By default glibc returns large blocks to the kernel, and every step pays for fresh pages: 0 to 7 % of a ResNet-20
    step. With this setting the process keeps as much memory as its largest step needed.
    """
    trim_threshold, mmap_max = -1, -4  # names of malloc.h
    if accelerator(machine) == "cpu" and sys.platform == "linux":
        with suppress(OSError, AttributeError):
            libc = ctypes.CDLL(None)
            libc.mallopt(trim_threshold, 2**31 - 1)
            libc.mallopt(mmap_max, 0)


def compiles(machine: Mapping[str, Any]) -> bool:
    """Whether the network is compiled on any device: machine.compile; auto = false.

    On two CPUs, one with AMX, a compiled ResNet-20 step was not faster than an eager one with fused gates, and
    compiling took 10 to 50 s (results/bench/NOTES.md). On a GPU, auto is decided by attnlab.machine.compiler.
    """
    return machine["compile"] is True


def precision(machine: Mapping[str, Any]) -> str:
    """The precision for Lightning's Trainer; auto = bf16-mixed where the hardware multiplies bfloat16, else 32-true."""
    wanted = str(machine["precision"])
    if wanted.startswith("16") and accelerator(machine) == "cpu":
        raise ConfigError(
            f"wrong value machine.precision={wanted}; allowed on a CPU are auto, 32-true, bf16-mixed, 64-true"
        )
    if wanted != "auto":
        return wanted
    fast = (
        cpu_has_bf16()
        if accelerator(machine) == "cpu"
        else torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    )
    return "bf16-mixed" if fast else "32-true"


def precision_of(record: Mapping[str, Any], machine: Mapping[str, Any]) -> str:
    """The precision in which a finished run is tested again: its own, unless machine.precision names another.

    Raises ConfigError where this device does not have it.
    """
    own = record["precision"]
    if machine["precision"] != "auto":
        return precision(machine)
    try:
        return precision({**machine, "precision": own})
    except ConfigError as error:
        text = f"run={record['id']}: was tested in {own}, which this device does not have"
        raise ConfigError(f"{text}; machine.precision=32-true tests it in float32") from error


def one_device(machine: Mapping[str, Any]) -> int:
    """The number of the device that a finished run is tested on; 0 on a CPU. Raises ConfigError for several devices,
    and for machine.batches, since a test on some of the images is no test."""
    devices = machine["devices"]
    if isinstance(devices, list) and len(devices) == 1 and accelerator(machine) != "cpu":
        return int(devices[0])
    if devices not in (1, "auto") or (machine.get("nodes") or 1) > 1:
        nodes = f" with machine.nodes={machine['nodes']}" if (machine.get("nodes") or 1) > 1 else ""
        raise ConfigError(
            f"wrong value machine.devices={devices}{nodes}; allowed here is 1, or on a GPU the number of one, [0]"
        )
    if machine.get("batches") is not None:
        raise ConfigError(
            f"wrong value machine.batches={machine['batches']}; allowed here is null, since a test takes all images"
        )
    return 0


def device_name(device: torch.device) -> str:
    """The device's name for the record: the GPU's, or the CPU's model and core count."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), name)
    except OSError:
        pass
    return f"{name}, {os.cpu_count()} cores"


def peak_memory(device: torch.device) -> int:
    """Peak memory in bytes: allocated on the GPU, or resident in this process."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, Linux KiB
