"""runs_per_gpu=auto: how many runs share a GPU, and whether they run side by side."""

from collections.abc import Iterable
from dataclasses import dataclass

from attnlab.machine import gpus, nvidia_mps
from attnlab.machine.gpu_rates import TOGETHER

SMALL = 64  # px: one run on images of at most this size leaves most of a GPU idle
TURNS = 4  # runs that take turns on a GPU: while one starts, validates or writes, others train


@dataclass(frozen=True)
class Sharing:
    """Runs that share a GPU. side_by_side: their kernels run at the same time, by NVIDIA MPS; False: in turns."""

    most: int
    side_by_side: bool

    @property
    def runs(self) -> int:
        """Runs on a GPU: most or, without MPS, TURNS; fewer where the computer has fewer cores for each GPU."""
        from attnlab.machine.hardware import cores

        wanted = self.most if self.side_by_side else min(self.most, TURNS)
        return max(1, min(wanted, cores() // max(1, len(gpus.ids()))))


def choose_sharing(image_sizes: Iterable[int]) -> Sharing:
    """TOGETHER runs side by side for images of at most SMALL px, else one run, which fills a GPU."""
    small = max(image_sizes, default=0) <= SMALL
    return Sharing(TOGETHER if small else 1, small and nvidia_mps.is_installed())
