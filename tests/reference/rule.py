"""The rule that makes every weight, input and cotangent of the reference data: numpy only, no file to load.

values(name, shape, seed) draws standard normal numbers n, float64, from PCG64 seeded with
crc32("<seed>:<name>:<d0>x<d1>..."), then scales them by what the name says, the first line that fits:
  "input", "cotangent", "digest:..."         n
  "...running_var"                           0.5 + |n|
  "...running_mean", "...bias"               n / 2
  "...weight" with one entry per channel     1 + n / 2            (a norm's: every dimension but the first is 1)
  anything else                              n / sqrt(fan_in)     (fan_in: the product of all dimensions but the first)
A parameter's name is its name in the ORIGINAL module's state_dict; num_batches_tracked is left as it is. The seed is
"attnlab", but for the weights of some modules: "seed" in the file's "about".
digest(name, array) is [L2 norm, dot with values("digest:" + name, shape)]: two numbers that stand for an array.
"""

import math
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

UNSCALED = ("input", "cotangent")


def text_of(shape: Sequence[int]) -> str:
    """(4, 64, 8, 8) -> "4x64x8x8", the form in seeds and in the names of cases."""
    return "x".join(str(int(size)) for size in shape)


def values(name: str, shape: Sequence[int], seed: str = "attnlab") -> NDArray[np.float64]:
    """The array that belongs to this name and shape; see the module's docstring."""
    key = zlib.crc32(f"{seed}:{name}:{text_of(shape)}".encode())
    normal = np.random.Generator(np.random.PCG64(key)).standard_normal(tuple(shape))
    if name in UNSCALED or name.startswith("digest:"):
        return normal
    if name.endswith("running_var"):
        return 0.5 + np.abs(normal)
    if name.endswith(("running_mean", "bias")):
        return 0.5 * normal
    fan_in = math.prod(shape[1:])
    if name.endswith("weight") and fan_in == 1:
        return 1 + 0.5 * normal
    return normal / math.sqrt(fan_in)


def digest(name: str, array: NDArray[np.float64]) -> NDArray[np.float64]:
    """[L2 norm, dot with values("digest:" + name, shape)], for a gradient or an output."""
    return np.array([np.linalg.norm(array), np.sum(array * values(f"digest:{name}", array.shape))])
