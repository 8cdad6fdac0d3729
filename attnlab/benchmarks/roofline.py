"""The time of a gate, forward and backward, over the time that it takes to move the bytes it must move.

The floor counts maps of the size of x, N = B C H W elements, read or written at least once in each pass that cannot
be joined with another, because it waits for a sum over the map; what is pooled is small beside them, and not counted.

    one gate      forward  read x to pool it, read x, write y                               3 N
                  backward read dy and x for the gradient of the mask, write dx             3 N
    cbam          forward  read x to pool it over space, over channels, read x, write y     4 N
                  backward read dy and x for each of the two masks' gradients, write dx     5 N

floor = maps * N * bytes an element / bandwidth, where the bandwidth is that of copying a map of the same size, dtype
and format (2 N moved), measured in the same rounds: floor = maps / 2 * seconds of the copy. Maps that fit into a cache
are copied within it, and have its bandwidth. A gate that keeps an image in the cache between two passes may be below.
"""

from functools import partial

import torch

from attnlab.benchmarks.gates import accelerated, features, passes, shapes
from attnlab.benchmarks.options import BenchOptions, describe, one_of, setting
from attnlab.benchmarks.report import Report, Row, spread
from attnlab.benchmarks.timing import interleaved
from attnlab.benchmarks.timm_pairs import TWINS, pair

ONE_GATE = (3, 3)
#: (forward, backward) maps of the size of x
MAPS = dict.fromkeys(TWINS, ONE_GATE) | {"cbam": (4, 5)}


def floor(name: str, copies: list[float]) -> list[float]:
    """Seconds that the bytes of a gate take, from those of a copy: maps / 2 of it."""
    return [sum(MAPS[name]) / 2 * seconds for seconds in copies]


def roofline(options: BenchOptions) -> Report:
    """The time of our gate over its floor, for every attention of MAPS and every shape."""
    here = setting(options.values())
    rows = []
    for name in one_of(options.attentions, tuple(MAPS)):
        for shape in shapes(options):
            ours, _ = pair(name, shape[1], shape[2])
            x = features(shape, here)
            copy = partial(torch.empty_like(x).copy_, x)
            seconds = interleaved({"ours": passes(accelerated(ours, here), x, here), "copy": copy}, options.repeats)
            rate = 2 * x.numel() * x.element_size() / spread(seconds["copy"]).median
            facts: dict[str, str | float] = {"maps": "+".join(map(str, MAPS[name])), "copy GB/s": round(rate / 1e9, 1)}
            case = f"{name} {shape}"
            rows.append(Row(case, seconds | {"floor": floor(name, seconds["copy"])}, "ours", "floor", facts=facts))
    title = "a gate, forward and backward, over the time that the bytes it must move take"
    return Report("roofline", title, rows, describe(here))
