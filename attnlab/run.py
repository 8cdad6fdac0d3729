"""Train: `python -m attnlab.run attention=cbam`, or a sweep: `python -m attnlab.run -m attention=se,ise,cbam,icbam`."""

import os
import re
import sys
import textwrap
import time
import traceback
from pathlib import Path
from typing import Any

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from attnlab.configuration.cli import EXPECTED, command_line
from attnlab.configuration.compose import check
from attnlab.configuration.explain import explain
from attnlab.configuration.groups import CONF, PACKAGES, choices
from attnlab.configuration.identity import run_id
from attnlab.configuration.resolvers import register_resolvers
from attnlab.configuration.secrets import hide
from attnlab.configuration.sweep_arguments import for_hydra
from attnlab.errors import ConfigError
from attnlab.launch.sweep import failures
from attnlab.machine import ranks
from attnlab.machine.processes import die_with
from attnlab.records.provenance import doubts, ways_on
from attnlab.records.record import read_record
from attnlab.records.source_code import print_warnings

HEARD = 3.0  # seconds after which another rank of the run that has failed speaks for itself
#: what Hydra raises besides, for a group set to null
UNEXPECTED_OF_HYDRA = (ValueError, TypeError, AttributeError)


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="run")
def job(cfg: DictConfig) -> float | None:
    """One run; returns its validation error in percent, for sweepers that optimise it. A failed one is told at once."""
    try:
        values = check(cfg)
        launcher = HydraConfig.get().runtime.choices.get("hydra/launcher")
        if launcher in PACKAGES:
            raise ConfigError(
                f"launcher={PACKAGES[launcher][1]}: is for sweeps and tables; allowed without -m is local"
            )
        if values["dry_run"]:
            if ranks.is_first():
                print(f"dry run: {state(values)}")
            return None
        typed = HydraConfig.get().overrides.task
        if ranks.is_first():
            print(f"{run_id(values)}: {' '.join(typed) or 'defaults'}", flush=True)
        from attnlab.training.train import train

        return train(values)["metrics"].get("val/top1_error")
    except BrokenPipeError:
        raise
    except Exception as error:
        message = hide(explain(error) if isinstance(error, EXPECTED) else f"{type(error).__name__}: {error}")
        if not ranks.is_first():
            time.sleep(HEARD)  # where every rank fails the first one tells, and this one ends with it
            message = f"{ranks.name()}: {message}"
        if os.environ.get("ATTNLAB_TRACEBACK") or not isinstance(error, EXPECTED):
            print(hide(traceback.format_exc()), end="", file=sys.stderr)
        print(f"attnlab: {message}", file=sys.stderr, flush=True)
        failures.append(message)
        return None


def state(values: dict[str, Any]) -> str:
    """Whether a run is recorded or would be run, with its id."""
    name = run_id(values)
    record = None if values["force"] else read_record(Path(values["output_dir"]) / name)
    if record and values.get("code") != "recorded" and (found := doubts(record, values["output_dir"])):
        return f"{name} is {ways_on(found)}"
    return f"{name} {'is recorded' if record else 'would run'}"


def help_text() -> str:
    """What there is to choose: the groups from conf/, the top keys from run.yaml with their comments."""
    lines = [str(__doc__), "", "Groups (group=choice; with -m: group=choice,choice):", ""]
    for folder in sorted(path for path in CONF.rglob("*") if path.is_dir() and any(path.glob("*.yaml"))):
        group = folder.relative_to(CONF).as_posix()
        text = textwrap.fill(" ".join(choices(group)), 110, initial_indent="    ", subsequent_indent="    ")
        lines += [f"  {group}", text]
    keys = re.findall(r"^(\w+: *\S+ +#.*)$", (CONF / "run.yaml").read_text(), flags=re.MULTILINE)
    lines += ["", "Keys:", "", *(f"  {key}" for key in keys), ""]
    lines += [
        "All keys of the chosen groups, each to be overridden as recipe.epochs=10: python -m attnlab.run --cfg job"
    ]
    lines += ["Hydra's own options: --hydra-help"]
    return "\n".join(lines)


def is_sweep(arguments: list[str]) -> bool:
    """Whether the command line is a sweep or a table, which the jobs of one (hydra.mode=RUN) are not."""
    several = {"-m", "--multirun"} & set(arguments) or any(argument.startswith("table=") for argument in arguments)
    return bool(several) and "hydra.mode=RUN" not in arguments


def print_configs(arguments: list[str]) -> bool:
    """Answer `--cfg job` of a sweep, which Hydra itself answers for one run only; whether that was asked for."""
    parsed = get_args_parser().parse_intermixed_args(arguments)
    if parsed.cfg != "job" or parsed.package:
        return False
    from attnlab.launch.print_configs import configs

    print(*configs(parsed.overrides, resolve=parsed.resolve), sep="---\n", end="")
    return True


@command_line(interrupted="interrupted; the same command goes on from here", expected=(*EXPECTED, *UNEXPECTED_OF_HYDRA))
def main() -> None:
    """The command line of Hydra."""
    if ranks.is_further() or ranks.by_torchrun():  # it ends with whoever started it
        die_with(os.getppid())
    ranks.alone()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises its errors, and command_line explains them
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(help_text())
        return
    for flag in ("-m", "--multirun"):  # Hydra's parser takes it in front of the overrides only
        if flag in sys.argv[1:]:
            sys.argv.remove(flag)
            sys.argv.insert(1, flag)
    register_resolvers()
    print_warnings()
    if is_sweep(sys.argv[1:]):
        if print_configs(sys.argv[1:]):
            return
        sys.argv[1:] = for_hydra(sys.argv[1:])
    job()
    if failures:
        sys.exit(1)


if __name__ == "__main__":
    main()
