"""One run before its judges: reads it, finds its control, and asks part after part."""

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
from attnlab.evaluation.finished_run import Subject, read_source, read_subject, subject_of
from attnlab.evaluation.score import Part
from attnlab.machine import hardware, versions
from attnlab.records.judgement_code import facts, why_anew
from attnlab.records.record import read_record

JUDGES: dict[str, Callable[[Subject, Subject | None], Part]] = {
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


def judged(
    folder: Path, parts: Sequence[str], known: Mapping[str, Part], images: int, machine: Mapping[str, Any],
    folders: Sequence[str], *, force: bool, lenient: bool,
) -> Iterator[tuple[str, Part]]:  # fmt: skip
    """(name, part) as soon as each is judged. known: what was judged before; what of it still stands is not judged
    again, unless force.  lenient: one that the run cannot be judged by is a line, not an error."""
    own = [override for override in folders if not override.startswith("transfer.")]
    other = [override.replace("transfer.", "dataset.", 1) for override in folders if override.startswith("transfer.")]
    source = read_source(folder.name, folder.parent, machine, own)
    twin = _without_attention(source.config, folder.parent) if "localisation" in parts else None
    control = read_record(folder.parent / twin) if twin else None
    subject = cache(lambda: subject_of(source, images))
    fast = source.precision.startswith("bf16")
    commit, dirty = versions.commit()
    unknown = []
    for name in parts:
        started = time.perf_counter()
        try:
            dataset = name.partition("/")[2]
            transfer = suite_errors.transfer_data(source.config, dataset, other) if dataset else None
            of = facts(name, source.record, source.data, "bf16" if fast else "float32", control, transfer)
            reason = why_anew(known.get(name), of, images, source.record)
            if reason is None and not force:
                unknown += [name] if known[name].get("of") is None else []
                continue
            if reason:
                print(f"  {folder.name}: {name} is judged again: {reason}", flush=True)
            if transfer:
                part = suite_errors.judge_transfer(subject(), dataset, transfer[1])
            else:
                beside = read_subject(twin, folder.parent, machine, own, images) if twin and "control" in of else None
                part = JUDGES[name](subject(), beside)
        except (ConfigError, ValueError) as error:
            if not isinstance(error, ConfigError):  # of a judge: maps that are not finite, images too small
                error = ConfigError(f"run={folder.name}: {name}: {error}")
            if not lenient:
                raise error from None
            print(f"  {error}", flush=True)
            continue
        settings = {
            "asked": images, "seconds": round(time.perf_counter() - started, 2), "commit": commit, "dirty": dirty,
            "device": hardware.device_name(subject().device), "versions": versions.installed(),
            "precision": "bf16 in counting errors, float32 in maps and attacks" if fast else "float32",
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        }  # fmt: skip
        yield name, part | {"settings": settings, "of": of}
    if unknown:
        print(f"  {folder.name}: judged by unknown code: {', '.join(unknown)}; force=true judges anew", flush=True)


def _without_attention(config: Mapping[str, Any], output_dir: Path) -> str | None:
    """The id of the same run without attention, when it is finished in output_dir and is not this one."""
    linear = str(config["head"]["_target_"]).endswith("Linear")
    if config["attention"]["_target_"] == NO_ATTENTION and linear:
        return None
    bare = plain(compose_file("run", ["attention=none", f"head.classes={config['dataset']['classes']}"]))
    name = run_id(dict(config) | {"attention": bare["attention"], "head": config["head"] if linear else bare["head"]})
    there = all((output_dir / name / file).exists() for file in ("result.json", "best.ckpt"))
    return name if there else None
