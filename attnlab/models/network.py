"""From a config to a network: backbone + attention in its slots + head; and back from a finished run."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from attnlab.attention.placement import AttentionSlots
from attnlab.configuration.compose import check
from attnlab.configuration.targets import construct
from attnlab.errors import ConfigError
from attnlab.records.checkpoint import fingerprint, read
from attnlab.records.record import find_run, read_config, read_record
from attnlab.records.source_code import OtherCode, changed_since


class Net(nn.Module):
    """Images (B, 3, H, W) -> logits (B, classes): head(backbone(images)). The attention sits inside the backbone."""

    def __init__(self, backbone: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.backbone(images))


def build(cfg: DictConfig | Mapping[str, Any]) -> nn.Module:
    """The network of a composed config: images (B, 3, H, W) -> logits (B, classes). Reads no images.

    The net is in its plain form; machine.acceleration exchanges what it can before training on a CPU.
    Equal configs give equal initial weights, drawn by `seed`; `start_from` is not applied here. The caller's random
    state is not changed. Raises ConfigError for a value that no network can be built from.
    """
    cfg = check(cfg)
    model = dict(cfg["model"])
    model.pop("weight_decay", None)  # the recipe's to use
    size = cfg["dataset"]["image_size"]
    smallest, largest = model.pop("min_image_size", None), model.pop("max_image_size", None)
    if largest is not None and size > largest:
        raise ConfigError(
            f"wrong value dataset.image_size={size}; this model's stem is made for images of at most {largest} px "
            f"(model.max_image_size={largest}); use model=timm, or a smaller dataset.image_size"
        )
    if smallest is not None and size < smallest:
        raise ConfigError(
            f"wrong value dataset.image_size={size}; this model halves its maps five times, for images of at least "
            f"{smallest} px "
            f"(model.min_image_size={smallest}); use model=resnet18_stem3, or a larger dataset.image_size"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(cfg["seed"])
        slots = AttentionSlots(cfg["attention"], size)
        backbone = construct(model, "model", slot=slots)
        slots.check(type(backbone).__name__)
        if not isinstance(getattr(backbone, "channels", None), Mapping):
            raise ConfigError(
                f"no backbone model._target_={model['_target_']}; it has no attribute `channels`, "
                f"{{feature name: C}} of "
                "the features that its forward returns"
            )
        return Net(backbone, construct(cfg["head"], "head", backbone.channels))


def load(run_id: str, output_dir: str | Path = "outputs", *, key: str = "run") -> nn.Module:
    """The trained network of a finished run, in eval mode, at the checkpoint that was tested.

    run_id: the run's folder below output_dir, or its first letters;  key: the config key that names it, for messages.
    Raises ConfigError if there is no such run, or its checkpoint is missing, damaged, or not the one of the record.
    Warns (OtherCode) if the run was trained by code that has changed since.
    """
    folder = find_run(run_id, output_dir, key=key)
    record = read_record(folder, key=key) or {}
    if files := changed_since(record):
        text = f"run {folder.name} was trained by other code ({', '.join(files)} changed since)"
        warnings.warn(f"{text}; the code of today uses its weights", OtherCode, stacklevel=2)
    values = read_config(folder, key=key)
    if values["model"].get("pretrained"):  # its weights are overwritten below, so they need not be fetched
        values["model"] = values["model"] | {"pretrained": False}
    net = build(values)
    try:
        content = read(folder / "best.ckpt")
        if record.get("weights") and fingerprint(folder / "best.ckpt") != record["weights"]:
            raise ConfigError(
                f"{key}={run_id}: its best.ckpt is not the one that the record is of (its checksum is another); "
                "bring that one back, or force=true trains anew"
            )
        state = content["state_dict"]
        net.load_state_dict({name.removeprefix("net."): state[name] for name in state if name.startswith("net.")})
    except FileNotFoundError as error:
        raise ConfigError(f"{key}={run_id}: its best.ckpt is missing") from error
    except ConfigError:  # it is a ValueError, too, and has a message of its own
        raise
    except (RuntimeError, ValueError) as error:
        raise ConfigError(f"{key}={run_id}: its best.ckpt cannot be read") from error
    return net.eval()
