"""C kernels that speed up attention gates and batch normalisation on a CPU. Models and attentions do not know them.

`accelerate(net)` is the only entry. This folder can be deleted: training is then slower, and nothing else changes.
"""

from attnlab.machine.kernels.accelerate import accelerate

__all__ = ["accelerate"]
