"""Train: `python -m attnlab.run attention=cbam`, or a sweep: `python -m attnlab.run -m attention=se,ise,cbam,icbam`."""

import os
import re
import sys
import textwrap
from pathlib import Path
from typing import Any

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

import attnlab
from attnlab.configuration.cli import EXPECTED, command_line
from attnlab.configuration.compose import check
from attnlab.configuration.groups import CONF, LAUNCHER_PACKAGES, choices, groups, own_folder
from attnlab.configuration.held_out import check_held_out
from attnlab.configuration.identity import run_id
from attnlab.configuration.options import options_first
from attnlab.configuration.replaced_nodes import spelled_out, typed
from attnlab.configuration.resolvers import register_resolvers
from attnlab.configuration.sweep_arguments import for_hydra
from attnlab.errors import ConfigError
from attnlab.launch.objective import Value
from attnlab.launch.one_run import print_failure, run_one
from attnlab.machine import ranks
from attnlab.machine.processes import die_with
from attnlab.records.provenance import doubts, doubts_and_remedies
from attnlab.records.record import read_record
from attnlab.records.source_code import print_warnings
from attnlab.tables.named_run import with_parents

#: what Hydra raises for a group that is set to null
UNEXPECTED_OF_HYDRA = (ValueError, TypeError, AttributeError)


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="run")
def job(cfg: DictConfig) -> Value | None:
    """One run; returns the value of its objective. Prints the message of a failed run and exits with status 1."""
    try:
        values = check(cfg)
        check_held_out(values)
        launcher = HydraConfig.get().runtime.choices.get("hydra/launcher")
        if launcher in LAUNCHER_PACKAGES:
            raise ConfigError(
                f"wrong value launcher={LAUNCHER_PACKAGES[launcher][1]}; allowed without -m is local, others are "
                "for sweeps"
            )
        if values["dry_run"]:
            if ranks.is_first():
                print(f"dry run: {state(values)}")
            return None
        return run_one(values, typed(HydraConfig.get().overrides.task))
    except BrokenPipeError:
        raise
    except Exception as error:
        print_failure(error)
        sys.exit(1)


def state(values: dict[str, Any]) -> str:
    """The run's id, and whether it is recorded or would run: what dry_run=true prints. Raises ConfigError if it would
    fail."""
    name = run_id(values)
    record = None if values["force"] else read_record(Path(values["output_dir"]) / name)
    if record and values.get("code") != "recorded" and (found := doubts(record, values["output_dir"])):
        return f"{name} is {doubts_and_remedies(found)}"
    if record:
        return f"{name} is recorded"
    from attnlab.launch.dry_run import DryRun, note

    if fault := DryRun().fault(values):
        raise ConfigError(fault)
    return f"{name} would run{note(values)}"


def help_text() -> str:
    """The help: the choices of every group of conf/, and the top keys of run.yaml with their comments."""
    lines = [str(__doc__), "", "Groups (group=choice; with -m: group=choice,choice):", ""]
    for group in groups():
        text = textwrap.fill(" ".join(choices(group)), 110, initial_indent="    ", subsequent_indent="    ")
        lines += [f"  {group}", text]
    keys = re.findall(r"^(\w+: *\S+ +#.*)$", (CONF / "run.yaml").read_text(), flags=re.MULTILINE)
    lines += ["", "Keys:", "", *(f"  {key}" for key in keys), ""]
    lines += ["All keys of the chosen groups, to override as in recipe.epochs=10: python -m attnlab.run --cfg job"]
    lines += ["Hydra's own options: --hydra-help", "Other commands (runs, report, look, judge, ...): python -m attnlab"]
    return "\n".join(lines)


def is_sweep(arguments: list[str]) -> bool:
    """Whether the command line is a sweep, a table or a search. The jobs of one, which have hydra.mode=RUN, are not."""
    declared = any(argument.startswith(("table=", "hparams=")) for argument in arguments)
    several = declared or {"-m", "--multirun"} & set(arguments)
    return bool(several) and "hydra.mode=RUN" not in arguments


def print_configs(arguments: list[str]) -> bool:
    """Print the configs of a sweep for `--cfg job`, which Hydra does for single runs only. False: no such option."""
    parsed = get_args_parser().parse_intermixed_args(arguments)
    if parsed.cfg != "job" or parsed.package:
        return False
    from attnlab.launch.print_configs import configs

    print(*configs(parsed.overrides, resolve=parsed.resolve), sep="---\n", end="")
    return True


@command_line(interrupted="interrupted; the same command goes on from here", expected=(*EXPECTED, *UNEXPECTED_OF_HYDRA))
def main() -> None:
    """The command line: Hydra's, with attnlab's help, sweeps and tables."""
    if ranks.is_further() or ranks.by_torchrun():
        die_with(os.getppid())
    ranks.forget_batch_script()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises errors instead of printing them; command_line prints them
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(help_text())
        return
    if "--version" in sys.argv[1:]:  # Hydra would print its own
        print(f"attnlab {attnlab.__version__}")
        return
    sys.argv[1:] = options_first(sys.argv[1:])
    from attnlab.launch import plugins

    plugins.register()
    register_resolvers()
    print_warnings()
    sys.argv[1:] = with_parents(sys.argv[1:])
    if is_sweep(sys.argv[1:]):
        ranks.refuse_sweep()
        if print_configs(sys.argv[1:]):
            return
        sys.argv[1:] = for_hydra(sys.argv[1:])
    else:
        sys.argv[1:] = spelled_out(sys.argv[1:])
    if own := own_folder():
        sys.argv[1:1] = ["--config-dir", str(own)]
    job()


if __name__ == "__main__":
    main()
