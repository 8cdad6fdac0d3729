"""The bars of `bench gpu`: what is asked of training on an H100 or H200, and what `attnlab.run` reaches."""

import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from attnlab.errors import AttnlabError


@dataclass(frozen=True)
class Bar:
    """One bar. asked: a number;  at_least: whether more is better;  found: None = not measured, for this `reason`."""

    name: str
    asked: float
    unit: str
    at_least: bool = True
    found: float | None = None
    reason: str = ""

    def verdict(self, asked_here: bool) -> str:
        """reached, missed, or why there is none. asked_here: whether this is a GPU that the bar is asked of."""
        if self.found is None:
            return f"not run: {self.reason}"
        if not asked_here:
            return "none: asked of an H100 or H200"
        reached = self.found >= self.asked if self.at_least else self.found <= self.asked
        return "reached" if reached else "missed"


#: attention -> images per second that one run alone must reach, without the compiler and with it
ALONE = {"none": (50_000, 65_000), "se": (40_000, 50_000), "cbam": (20_000, 30_000)}
#: the same for the sum over 16 runs
TOGETHER = {"none": (120_000, 150_000), "cbam": (45_000, 80_000)}
#: attention -> largest extra time of a ResNet-50 step at 224 px, %
RESNET50 = {"se": 10, "cbam": 35}
STOP_SECONDS = 30.0  # that a sweep has to end after SIGTERM
#: share of a ResNet-50 step that an SE gate takes at least, as its bytes over the memory's rate: 3 to 6 %
FLOOR_OF_SE = "its bytes alone: 3 to 6 %"


def run_sweep(overrides: Mapping[str, str], folder: Path, seconds: float, log: Path) -> list[dict]:
    """The records of a sweep of attnlab.run, which ends within `seconds`. overrides: {key: value}; log: its output.

    Raises AttnlabError with the last line of its output when it fails, and for a sweep that takes longer.
    """
    arguments = [f"{key}={value}" for key, value in (dict(overrides) | {"output_dir": str(folder)}).items()]
    with log.open("a") as output:
        sweep = subprocess.Popen(
            [sys.executable, "-m", "attnlab.run", "-m", *arguments],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output,
        )  # fmt: skip
        try:
            sweep.wait(max(1.0, seconds))
        except subprocess.TimeoutExpired as error:
            raise AttnlabError("out of time") from error
        finally:
            stop(sweep)
    if sweep.returncode:
        raise AttnlabError(log.read_text().strip().split("\n")[-1])
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*/result.json"))]


def stop(process: "subprocess.Popen[bytes]") -> None:
    """End a process that may still run: SIGTERM, by which a sweep stops its jobs and MPS, and SIGKILL later."""
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()


class Clock:
    """The time that is left of a budget, in seconds."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        return self._end - time.monotonic()


def rate_bars(
    asked: Mapping[str, tuple[int, int]], rates: Mapping[str, float] | str, *, compiled: bool, runs: int = 1
) -> list[Bar]:
    """A bar for each attention. rates: {attention: images per second}, or the reason for which there are none."""
    how = f"{f'{runs} runs together' if runs > 1 else 'one run alone'}{', compiled' if compiled else ''}"
    return [
        Bar(
            f"ResNet-20, {attention}, {how}", values[compiled], "images/s",
            found=None if isinstance(rates, str) else rates.get(attention),
            reason=rates if isinstance(rates, str) else "no record",
        )
        for attention, values in asked.items()
    ]  # fmt: skip


def names_of(records: Sequence[Mapping]) -> dict[str, float]:
    """{attention: images per second of its runs together}."""
    names = {"torch.nn.Identity": "none", "attnlab.attention.se.SE": "se", "attnlab.attention.cbam.cbam": "cbam"}
    found: dict[str, float] = {}
    for record in records:
        name = names[record["config"]["attention"]["_target_"]]
        found[name] = found.get(name, 0.0) + record["images_per_second"]
    return found
