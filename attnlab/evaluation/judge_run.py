"""Judge one finished run: evaluate the parts that are missing or outdated, and keep them in its judge.json."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attnlab.configuration.compose import compose_file, plain
from attnlab.configuration.groups import choices
from attnlab.errors import ConfigError
from attnlab.records.image_folder import remembered
from attnlab.records.judgement import add_to_judgement, read_judgement
from attnlab.records.record import find_run, read_valid_record

DEFAULT = ("localisation", "health", "calibration", "fgsm", "faithfulness", "sanity")
PARTS = (*DEFAULT, "background", "pgd", "corruptions")
IMAGES = 1000


def judge(
    run: str, output_dir: str | Path = "outputs", parts: Sequence[str] = (), *, images: int = IMAGES,
    force: bool = False, machine: Mapping[str, Any] | None = None, folders: Sequence[str] = (),
) -> dict[str, Any]:  # fmt: skip
    """Judge one run, write OUTPUT_DIR/<id>/judge.json after each part, and return the content of the file.

    parts: names from PARTS, or transfer/DATASET. With no part named, or with all of PARTS, parts that the dataset does
    not allow are skipped with one printed line; DEFAULT is what runs if none is named.
    images: number of test images, drawn evenly over the classes;  machine: the `machine` section of a config, None =
    auto;  folders: overrides that name image folders, ["dataset.root=DIR", "transfer.root=DIR"].
    A part of an earlier judgement is kept unless the images, the masks, the settings or the code that judges have
    changed since (records/judgement_code.py), or force is true.
    Raises ConfigError for a run that is not found or cannot be loaded, an unknown part, a named part that the dataset
    does not allow, and if there is no part that can be judged.
    """
    for name in parts:
        kind, _, dataset = name.partition("/")
        if name not in PARTS and (kind != "transfer" or dataset not in choices("dataset")):
            raise ConfigError(f"unknown choice parts={name}; allowed are all, {', '.join(sorted(PARTS, key=len))}")
    folder = find_run(run, output_dir)
    record, folders = read_valid_record(folder), remembered(folder, folders)
    earlier = (read_judgement(folder, record) or {}).get("parts", {})
    from attnlab.evaluation.suite import judge_parts  # imports torch; the checks above fail fast without it

    machine = machine or plain(compose_file("run"))["machine"]
    wanted, skip_impossible = list(dict.fromkeys(parts or DEFAULT)), set(parts) in (set(), set(PARTS))
    for name, part in judge_parts(
        folder, wanted, earlier, images, machine, folders, force=force, skip_impossible=skip_impossible
    ):
        add_to_judgement(folder, record, name, part)  # part by part, so that an interruption loses one part at most
    judgement = read_judgement(folder, record)
    if judgement is None:
        raise ConfigError(f"run={folder.name}: none of the parts can be judged: {', '.join(wanted)}")
    return judgement
