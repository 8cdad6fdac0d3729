"""What dry_run=true checks of a run beside its config: that its network can be built, and that its images are there."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from attnlab.configuration.digest import digest
from attnlab.configuration.image_tree import classes_of
from attnlab.errors import AttnlabError

#: datasets that are downloaded into dataset.root where it has no images yet
DOWNLOADED = ("attnlab.data.cifar.", "attnlab.data.svhn.")
#: an image tree whose folders are not read when its config is composed
TREE = "attnlab.data.imagenet."
#: methods of a tensor that fill it with random numbers
DRAWS = ("normal_", "uniform_", "trunc_normal_")


class DryRun:
    """Checks runs that would start. Each distinct network is built once, without memory for its weights."""

    def __init__(self) -> None:
        self._built: dict[str, str] = {}

    def fault(self, values: Mapping[str, Any]) -> str:
        """Why the run would fail, as its message; empty if nothing is found."""
        return _fault_of_folder(values["dataset"]) or self._fault_of_network(values)

    def _fault_of_network(self, values: Mapping[str, Any]) -> str:
        parts = [values[part] for part in ("model", "attention", "head")]
        key = digest([*parts, values["dataset"]["image_size"]])
        if key not in self._built:
            self._built[key] = _fault_of_building(values)
        return self._built[key]


def note(values: Mapping[str, Any]) -> str:
    """What a reader should know of a run that would start: that its images are downloaded first; else empty."""
    dataset = values["dataset"]
    folder = Path(str(dataset.get("root")))
    has_files = any(not path.name.startswith(".") for path in folder.glob("*"))
    if has_files or not dataset["_target_"].startswith(DOWNLOADED):
        return ""
    return f"; downloads its images into dataset.root={folder}, which is {'empty' if folder.is_dir() else 'missing'}"


def _fault_of_folder(dataset: Mapping[str, Any]) -> str:
    if not dataset["_target_"].startswith(TREE):
        return ""
    try:
        classes_of(str(dataset["root"]), "train")
    except AttnlabError as error:
        return str(error)
    return ""


def _fault_of_building(values: Mapping[str, Any]) -> str:
    import torch
    from torch.overrides import TorchFunctionMode

    from attnlab.models.network import build

    class NoDraws(TorchFunctionMode):
        """Initial weights are not drawn: on the meta device the first draw imports torch's compiler, for seconds."""

        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if getattr(func, "__name__", "") in DRAWS:
                return args[0] if args else kwargs["tensor"]
            return func(*args, **(kwargs or {}))

    model = values["model"]
    if model.get("pretrained"):  # its weights need not be fetched
        model = model | {"pretrained": False}
    values = {**values, "model": model}
    with suppress(Exception), torch.device("meta"), NoDraws():
        build(values)
        return ""
    try:
        build(values)  # on the CPU, as the run would: a net may need numbers that the meta device has not
    except AttnlabError as error:
        return str(error)
    return ""
