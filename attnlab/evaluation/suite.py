"""Evaluate parts of a judgement for one run: load the run, find its control, and call the function of each part."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from attnlab.configuration.compose import compose_file, plain
from attnlab.configuration.identity import run_id
from attnlab.configuration.schema import NO_ATTENTION
from attnlab.errors import ConfigError
from attnlab.evaluation import suite_errors, suite_maps
from attnlab.evaluation.finished_run import FinishedRun, load_run, read_finished_run, read_run_data
from attnlab.evaluation.score import Part
from attnlab.machine import hardware, versions
from attnlab.records.judgement_code import facts, why_anew
from attnlab.records.record import read_record
from attnlab.records.run_folder import title_in

JUDGES: dict[str, Callable[[FinishedRun, FinishedRun | None], Part]] = {
    "localisation": suite_maps.judge_localisation,
    "faithfulness": suite_maps.judge_faithfulness,
    "sanity": suite_maps.judge_sanity,
    "health": suite_errors.judge_health,
    "calibration": suite_errors.judge_calibration,
    "fgsm": suite_errors.judge_fgsm,
    "pgd": suite_errors.judge_pgd,
    "background": suite_errors.judge_background,
    "corruptions": suite_errors.judge_corruptions,
}


def judge_parts(
    folder: Path, parts: Sequence[str], earlier: Mapping[str, Part], images: int, machine: Mapping[str, Any],
    folders: Sequence[str], *, force: bool, skip_impossible: bool,
) -> Iterator[tuple[str, Part]]:  # fmt: skip
    """Yield (name, part) for each part that is judged, as soon as it is done.

    earlier: {name: part} of an earlier judgement; those that are still valid are not judged again, unless force;
    skip_impossible: print one line for a part that this run does not allow, instead of raising ConfigError. A run that
    cannot be loaded raises it in any case.
    The other arguments: see `attnlab.evaluation.judge_run.judge`.
    """
    own = [override for override in folders if not override.startswith("transfer.")]
    other = [override.replace("transfer.", "dataset.", 1) for override in folders if override.startswith("transfer.")]
    found = read_run_data(folder.name, folder.parent, machine, own)
    control_id = _control_id(found.config, folder.parent) if "localisation" in parts else None
    control_record = read_record(folder.parent / control_id) if control_id else None
    run = cache(lambda: load_run(found, images))  # loads the network only if a part has to be judged
    bf16 = found.precision.startswith("bf16")
    commit, dirty = versions.commit()
    of_unknown_code = []
    for name in parts:
        started = time.perf_counter()
        dataset = name.partition("/")[2]
        try:
            transfer = suite_errors.transfer_data(found.config, dataset, other) if dataset else None
            precision = "bf16" if bf16 else "float32"
            of = facts(name, found.record, found.data, precision, control_record, transfer)
        except (ConfigError, ValueError) as error:
            _skip(folder.name, name, error, skip_impossible)
            continue
        reason = why_anew(earlier.get(name), of, images, found.record)
        if reason is None and not force:
            of_unknown_code += [name] if earlier[name].get("of") is None else []
            continue
        run()  # a run that cannot be loaded allows no part at all
        if reason:
            print(f"  {title_in(folder)}: {name} is judged again: {reason}", flush=True)
        try:
            if transfer:
                part = suite_errors.judge_transfer(run(), dataset, transfer[1])
            else:
                control = None
                if control_id and "control" in of:
                    control = read_finished_run(control_id, folder.parent, machine, own, images)
                part = JUDGES[name](run(), control)
        except (ConfigError, ValueError) as error:
            _skip(folder.name, name, error, skip_impossible)
            continue
        settings = {
            "asked": images, "seconds": round(time.perf_counter() - started, 2), "commit": commit, "dirty": dirty,
            "device": hardware.device_name(run().device), "versions": versions.installed(),
            "precision": "bf16 in counting errors, float32 in maps and attacks" if bf16 else "float32",
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        }  # fmt: skip
        yield name, part | {"settings": settings, "of": of}
    if of_unknown_code:
        names = ", ".join(of_unknown_code)
        print(f"  {title_in(folder)}: judged by unknown code: {names}; force=true judges again", flush=True)


def _skip(run: str, part: str, error: Exception, skip_impossible: bool) -> None:
    """Print the line of a part that this run does not allow, or raise it as a ConfigError."""
    if not isinstance(error, ConfigError):  # from a metric, e.g. for maps that are not finite
        error = ConfigError(f"run={run}: {part}: {error}")
    if not skip_impossible:
        raise error from None
    print(f"  {error}", flush=True)


def _control_id(config: Mapping[str, Any], output_dir: Path) -> str | None:
    """The id of the same run without attention; None if it is not finished in output_dir, or is this run."""
    linear = str(config["head"]["_target_"]).endswith("Linear")
    if config["attention"]["_target_"] == NO_ATTENTION and linear:
        return None
    bare = plain(compose_file("run", ["attention=none", f"head.classes={config['dataset']['classes']}"]))
    name = run_id(dict(config) | {"attention": bare["attention"], "head": config["head"] if linear else bare["head"]})
    finished = all((output_dir / name / file).exists() for file in ("result.json", "best.ckpt"))
    return name if finished else None
