"""Use a network that maps images to logits, and knows neither places nor features, as a backbone."""

from typing import Any

import torch
from torch import Tensor, nn

from attnlab.errors import ConfigError
from attnlab.models.foreign_places import offer_places
from attnlab.models.insertion import evaluating
from attnlab.models.slots import Slot

IMAGE_SIZE = 224  # px, where the slot does not know the dataset's


class LogitsNet(nn.Module):
    """Images (B, 3, H, W) -> {last: (B, C, 1, 1)}, from the vector (B, C) in front of the net's classifier.

    If the net's output is that of an nn.Linear, the lab's head takes this layer's place. The head follows any other
    output: a vector (B, C), or a map (B, C, H, W), which is passed on as it is.
    net: the network;  key: the config key and value that chose it, for messages;  after: attention.after.
    Slots: see foreign_places. Raises ConfigError if the net fails on the dataset's images, or gives anything else.
    """

    def __init__(self, net: nn.Module, key: str, *, slot: Slot, after: Any = None) -> None:
        super().__init__()
        self.net = net
        size = getattr(slot, "image_size", IMAGE_SIZE)
        images = torch.zeros(1, 3, size, size)
        linear: dict[str, Any] = {}

        def run() -> Any:
            try:
                return net(images)
            except ConfigError:
                raise
            except Exception as error:  # the net is anybody's
                reason = (str(error).splitlines() or [""])[0]
                shape = f"images (1, 3, {size}, {size})"
                raise ConfigError(f"{key} fails on {shape}: {type(error).__name__}: {reason}") from error

        def keep(name: str) -> Any:
            return lambda module, inputs, y: linear.update({name: y})

        layers = [(name, module) for name, module in net.named_modules() if name and isinstance(module, nn.Linear)]
        handles = [module.register_forward_hook(keep(name)) for name, module in layers]
        with evaluating(net):
            y = run()
        for handle in handles:
            handle.remove()
        if classifier := next((name for name, output in linear.items() if output is y), None):
            net.set_submodule(classifier, nn.Identity())
            with evaluating(net):
                y = run()
        if not isinstance(y, Tensor) or y.dim() not in (2, 4):
            given = f"a tensor {tuple(y.shape)}" if isinstance(y, Tensor) else f"a {type(y).__name__}"
            raise ConfigError(f"{key} returns {given}; allowed is a tensor (B, classes)")
        self.channels = {"last": y.shape[1]}
        offer_places(net, slot, run, after)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        y = self.net(images)
        return {"last": y[:, :, None, None] if y.dim() == 2 else y}
