"""Start from the weights of a finished run: `start_from=ID`, e.g. to add attention to a trained net and train on."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from attnlab.configuration.digest import canonical
from attnlab.configuration.names import name_of
from attnlab.configuration.targets import target
from attnlab.configuration.validation_seed import draw_seed
from attnlab.errors import ConfigError
from attnlab.models.network import load
from attnlab.records.checkpoint import fingerprint
from attnlab.records.record import find_run, read_config, read_record
from attnlab.records.source_code import changed_since

#: keys of dataset that, with its class, determine its training images; dataset.seed too, if the images are generated
OF_IMAGES = ("classes", "image_size", "listing", "train_size", "background_bias")


def start_from(net: nn.Module, values: Mapping[str, Any]) -> str:
    """Load the weights of the run `start_from` into `net`, built from the config `values`; return a line for the log.

    The backbones must fit, tensor by tensor. Attention and head are loaded if both configs name the same ones;
    otherwise, or with another number of classes, they keep their new weights.
    Raises ConfigError if there is no such run, its weights cannot be read, its backbone is another one, or it was
    trained by code that has changed since (unless code=recorded accepts that).
    """
    source = values["start_from"]
    folder = find_run(source, values["output_dir"], key="start_from")
    if (files := changed_since(read_record(folder, key="start_from") or {})) and values.get("code") != "recorded":
        text = f"start_from={source}: was trained by other code: {', '.join(files)} changed since"
        raise ConfigError(f"{text}; code=recorded starts from its weights as they are")
    before = read_config(folder, key="start_from")
    mine, theirs = _parts(net), _parts(load(folder.name, folder.parent, key="start_from"))
    taken, new = ["backbone"], list[str]()
    if difference := _difference(mine["backbone"], theirs["backbone"]):
        names = [name_of("model", config["model"]) for config in (before, values)]
        raise ConfigError(
            f"start_from={source}: its backbone, model={names[0]}, does not fit model={names[1]}: {difference}"
        )
    for part in ("attention", "head"):
        same = canonical(before[part]) == canonical(values[part]) and not _difference(mine[part], theirs[part])
        if mine[part]:
            (taken if same else new).append(part)
    for part in taken:
        net.load_state_dict(theirs[part], strict=False)
    line = f"starts from {source}: its {', '.join(taken)}" + (f"; new: {', '.join(new)}" if new else "")
    return line + _leak(before, values)


def parent_of(values: Mapping[str, Any]) -> dict[str, str]:
    """The id of the run that a config starts from, and the SHA-256 of its best.ckpt. Raises ConfigError without one."""
    folder = find_run(values["start_from"], values["output_dir"], key="start_from")
    try:
        return {"id": folder.name, "weights": fingerprint(folder / "best.ckpt")}
    except FileNotFoundError as error:
        raise ConfigError(f"start_from={values['start_from']}: its best.ckpt is missing") from error


def _leak(before: Mapping[str, Any], values: Mapping[str, Any]) -> str:
    """A warning if the earlier run, or a run that it started from, may have been trained on images held out now.

    With the same draw, or in the order of the files, a smaller held-out set is part of a larger one. Two different
    draws count as different sets. Datasets of different classes count as sharing no image.
    """
    held, other = values["recipe"]["validation"]["images"], before["recipe"]["validation"]["images"]
    if not held:
        return ""
    if values["dataset"]["_target_"] == before["dataset"]["_target_"]:
        if _images(values) != _images(before):
            return "; its training images may hold some that are held out here: val/top1_error may be too low"
        if isinstance(held, float) != isinstance(other, float) and other:  # a share and a number are not compared
            return "; its training images may hold some that are held out here: val/top1_error may be too low"
        if _draw(values) != _draw(before) or held > other:
            return "; it was trained on images that are held out here, so val/top1_error is too low"
    if not (source := before.get("start_from")):
        return ""
    try:
        folder = find_run(source, values["output_dir"])
        return _leak(read_config(folder, key="start_from"), values)
    except (ConfigError, OSError):
        return f"; it began with {source}, whose training images are not known: val/top1_error may be too low"


def _draw(values: Mapping[str, Any]) -> int | None:
    """The seed that draws the held-out images; None if they follow the order of the files."""
    return draw_seed(values["recipe"]["validation"], values["dataset"].get("seed", 0), values["seed"])


def _images(values: Mapping[str, Any]) -> dict[str, Any]:
    """The config values that determine the images from which the dataset trains and holds out."""
    dataset = values["dataset"]
    made = ("seed",) if getattr(target(dataset, "dataset"), "seed_makes_images", False) else ()
    return {name: canonical(dataset.get(name)) for name in (*OF_IMAGES, *made)}


def _parts(net: nn.Module) -> dict[str, dict[str, Any]]:
    """The net's tensors by part and name; parts: backbone, attention, head."""
    inside = tuple(f"{name}." for name, module in net.named_modules() if hasattr(module, "attention_place"))
    parts: dict[str, dict[str, Any]] = {"backbone": {}, "attention": {}, "head": {}}
    for name, tensor in net.state_dict().items():
        part = "attention" if name.startswith(inside) else "head" if name.startswith("head.") else "backbone"
        parts[part][name] = tensor
    return parts


def _difference(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> str | None:
    """The first tensor that one side lacks, or has in another shape, as text; None if all fit."""
    for name in [*mine, *theirs]:
        shapes = [str(tuple(part[name].shape)) if name in part else "absent" for part in (theirs, mine)]
        if shapes[0] != shapes[1]:
            return f"{name} is {shapes[0]} there, {shapes[1]} here"
    return None
