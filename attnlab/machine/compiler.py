"""When torch.compile pays on a GPU, and one job at a time compiling one net."""

import fcntl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from attnlab.machine import hardware
from attnlab.machine.gpu_rates import rate_of
from attnlab.machine.gpus import user_folder

SET_UP = 37.0  # s that compiling a training step takes: the longest measured (gpu_rates.MEASURED_ON), of 23 to 37


def compiling_pays(values: Mapping[str, Any], images: int) -> bool:
    """Whether machine.compile=auto compiles the net of a run on `images` training images, its steps being captured.

    On a GPU, where rates of this net were measured (attnlab.machine.gpu_rates) and the steps of the run gain more than
    SET_UP. A resumed run counts all its steps, so that it decides as before. Never with deterministic=true, since the
    compiler's kernels need not be deterministic.
    """
    machine, recipe = values["machine"], values["recipe"]
    if machine["compile"] != "auto" or hardware.accelerator(machine) != "gpu" or values["deterministic"]:
        return False
    rate = rate_of(values)
    if rate is None or hardware.precision(machine) != "bf16-mixed":
        return False
    epochs = (recipe["epochs"] or 0) * (recipe.get("passes_per_epoch") or 1)
    seen = recipe["steps"] * recipe["batch_size"] if recipe["steps"] is not None else epochs * images
    return seen * (1 / rate.graph - 1 / rate.compiled) > SET_UP


@contextmanager
def compile_turn(net: str) -> Iterator[None]:
    """Wait until no other process of the user compiles the same net.

    The next one then finds the kernels in Inductor's cache, a folder that all processes of a user share.
    net: the id of the table cell, which runs with another seed share.
    """
    with (user_folder() / f"compile.{net}").open("w") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        yield
