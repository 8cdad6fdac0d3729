"""Learning-rate schedules: functions from a step, counted from 0, to the factor on recipe.optimizer.lr."""

import math
from collections.abc import Sequence

from attnlab.errors import ConfigError


def constant(step: int, *, steps_per_epoch: int, total_steps: int) -> float:
    """The factor 1 at every step."""
    return 1.0


def multistep(
    step: int,
    *,
    steps_per_epoch: int,
    total_steps: int,
    milestones: Sequence[float],
    gamma: float,
    unit: str = "epochs",
    warmup_steps: int = 0,
    warmup_factor: float = 1.0,
    decay: float | None = None,
) -> float:
    """gamma^k after k milestones.

    milestones: counted from 0 in `unit`, `epochs` or `steps`;  warmup_factor: the factor in the first `warmup_steps`
    steps (He et al. 2016, section 4.2, start ResNet-110 at 0.01 for about 400);  decay: every factor is divided by
    1 + decay * step (Torch7's learningRateDecay, torch/optim@a5ceed7 sgd.lua); None = no division.
    Raises ConfigError for another unit.
    """
    if unit not in ("epochs", "steps"):
        raise ConfigError(f"wrong value recipe.schedule.unit={unit}; allowed are epochs, steps")
    slower = 1 + (decay or 0) * step
    if step < warmup_steps:
        return warmup_factor / slower
    now = step // steps_per_epoch if unit == "epochs" else step
    return gamma ** sum(now >= milestone for milestone in milestones) / slower


def warmup_cosine(
    step: int, *, steps_per_epoch: int, total_steps: int, warmup: float = 0.1, final: float = 0.0
) -> float:
    """Linear from 0 to 1 over the share `warmup` of all steps, then half a cosine down to `final`.

    Source: Loshchilov and Hutter 2017 (arXiv 1608.03983), one cycle. It follows recipe.epochs or recipe.steps.
    """
    done = (step + 1) / max(total_steps, 1)
    if done < warmup:
        return done / warmup
    progress = min(1.0, (done - warmup) / max(1 - warmup, 1e-9))
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * progress))
