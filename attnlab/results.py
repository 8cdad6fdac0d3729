"""Records: one JSON file a finished run, OUTPUT_DIR/<run id>/result.json, written whole or not at all."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attnlab.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd

Record = dict[str, Any]
#: what every table needs
RECORD_KEYS = {"id", "config", "metrics", "params", "data_hash", "device", "precision", "world_size", "versions"}


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file so that a reader sees all of it or nothing."""
    part = path.with_name(f".{path.name}.part")
    with part.open("w") as file:
        json.dump(content, file, indent=1, sort_keys=True, allow_nan=False)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def read_record(folder: Path) -> Record | None:
    """The record of a run's folder, or None when the run has not finished."""
    try:
        return json.loads((folder / "result.json").read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{folder.name}/result.json cannot be read ({error})") from error


def records(*output_dirs: str | Path) -> list[Record]:
    """All finished records below some folders, by id; a record that stands in several is taken once.

    A record is result.json in a run's folder, or a tracked <run id>.json; folders put aside by force=true do not count.
    """
    found: dict[str, Record] = {}
    for output_dir in output_dirs:
        folder = Path(output_dir)
        paths = [path for path in folder.glob("*/result.json") if "." not in path.parent.name]
        for path in sorted([*paths, *folder.glob("**/records/*.json")]):
            try:
                record = json.loads(path.read_text())
            except (OSError, ValueError) as error:
                raise ConfigError(f"{path} cannot be read as a record ({error})") from error
            if not isinstance(record, dict) or not record.keys() >= RECORD_KEYS:
                raise ConfigError(f"{path} is not a record: it lacks {', '.join(sorted(RECORD_KEYS - set(record)))}")
            found.setdefault(record["id"], record)
    return [found[name] for name in sorted(found)]


def find_run(run_id: str, output_dir: str | Path = "outputs") -> Path:
    """The folder of a finished run, by its id or the first letters of it. Raises ConfigError when not just one fits."""
    folders = [path.parent for path in Path(output_dir).glob("*/result.json") if "." not in path.parent.name]
    fitting = sorted(folder for folder in folders if run_id and folder.name.startswith(run_id))
    if len(fitting) != 1:
        known = ", ".join(sorted(folder.name for folder in (fitting or folders))[:8]) or "none yet"
        state = "fits several runs" if fitting else "no such finished run"
        raise ConfigError(f"run={run_id}: {state} in output_dir={output_dir}; there are {known}")
    return fitting[0]


def load_results(output_dir: str | Path = "outputs") -> "pd.DataFrame":
    """A row a finished run: id, seed, names of dataset, model, attention, head and recipe, metrics, costs, device."""
    import pandas as pd

    from attnlab.identity import SECTIONS, cell, name_of

    rows = []
    for record in records(output_dir):
        config = record["config"]
        row = {"id": record["id"], "cell": cell(config), "seed": config["seed"]}
        row |= {section: name_of(section, config[section], config) for section in SECTIONS}
        row |= record["metrics"]
        row |= {name: value for name, value in record.items() if name not in ("id", "config", "metrics", "versions")}
        row["classes"] = config["dataset"]["classes"]
        rows.append(row)
    return pd.DataFrame(rows)
