"""The modules that only some recipes and datasets use: the code of a run names them where its config has the key."""

from collections.abc import Mapping
from typing import Any


def modules_of(config: Mapping[str, Any]) -> dict[str, list[str]]:
    """{part of a run's code: its modules}, for keys that are not null. Configs of an older attnlab lack the keys."""
    recipe, dataset = config["recipe"], config["dataset"]
    augment, averaging = recipe.get("augment") or {}, recipe.get("weight_averaging") or {}
    stopping = recipe.get("early_stopping") or {}
    used = {
        "data.parts": dataset.get("fraction") or isinstance(recipe["validation"]["images"], float),
        "data.train_val_folder": str(dataset["_target_"]).endswith("folder.Folder") and dataset.get("test_split"),
        "data.batch_augment": augment.get("policy") or augment.get("erasing"),
        "models.stochastic_depth": recipe.get("stochastic_depth"),
        "training.mixing": recipe.get("mixup") or recipe.get("cutmix"),
        "training.torch_schedule": str(recipe["schedule"]["_target_"]).startswith("torch."),
        "training.averaging": averaging.get("kind"),
        "training.early_stopping": stopping.get("patience"),
    }
    return {module: [f"attnlab.{module}"] for module, is_used in used.items() if is_used}
