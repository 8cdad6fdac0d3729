"""A CUDA graph's rules on a CPU: operations are recorded once and replayed on the same memory, Python never runs again.

So a value that was read on the host, a Python number that changes, or a tensor that is new at each step shows here as
it would on a GPU. Unlike a capture, a recording runs the function; what it has changed is put back.
"""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

READS = ("aten::_local_scalar_dense", "aten::nonzero")  # operations that wait for a value


class Recording(TorchDispatchMode):
    """Records the operations that run within it, each with its arguments and its results."""

    def __init__(self):
        super().__init__()
        self.operations = []
        self.before = {}  # storage -> its content when it was first seen

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function._schema.name in READS:
            raise RuntimeError(f"operation not permitted when stream is capturing: {function}")
        for tensor in filter(torch.is_tensor, tree_leaves((args, kwargs))):
            self.before.setdefault(tensor.untyped_storage()._cdata, (tensor, tensor.untyped_storage().clone()))
        results = function(*args, **kwargs)
        self.operations.append((function, args, kwargs, results))
        for tensor in filter(torch.is_tensor, tree_leaves(results)):  # made within: nothing to put back
            self.before.setdefault(tensor.untyped_storage()._cdata, (tensor, None))
        return results


class RecordedGraphs:
    """Graphs (attnlab.machine.graphs) whose replay repeats recorded operations.

    made: number of graphs.  replays: of all graphs.
    """

    fused = True

    def __init__(self):
        self.made = self.replays = 0

    def warm_up(self, function):
        function()

    def capture(self, function):
        recording, state = Recording(), torch.get_rng_state()
        with recording:
            function()
        for tensor, content in recording.before.values():
            if content is not None:
                tensor.untyped_storage().copy_(content)
        torch.set_rng_state(state)
        self.made += 1

        @torch.no_grad()
        def replay():
            self.replays += 1
            for operation, args, kwargs, results in recording.operations:
                again = operation(*args, **kwargs)
                for old, new in zip(tree_leaves(results), tree_leaves(again), strict=True):
                    if torch.is_tensor(old) and old.untyped_storage().data_ptr() != new.untyped_storage().data_ptr():
                        old.copy_(new)

        return replay
