"""What each job of a sweep is given: a value below a swept group belongs to the jobs, not to the group's default.

Hydra composes one config for the sweep itself, in which swept groups have their default choice. There
`-m attention=se,cbam attention.reduction=4` would set a key that attention=none does not have.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from attnlab.configuration.compose import CONF, explain, no_knobs, no_such_key, siblings
from attnlab.configuration.identity import NOTHING, SECTIONS
from attnlab.configuration.overrides import parse
from attnlab.errors import ConfigError

Load = Callable[[list[str]], DictConfig]
EXPECTED = (HydraException, OmegaConfBaseException, ConfigError)


@dataclass
class Composed:
    """One job: its overrides, its config, and the overrides that it cannot have because its attention is none."""

    overrides: list[str]
    config: DictConfig
    left_out: list[str] = field(default_factory=list)


def for_hydra(arguments: Sequence[str]) -> list[str]:
    """The command line of a sweep or a table, with what only its jobs can have moved to `hydra.sweeper.arguments`.

    That is every `key=value` below a swept group. An experiment that is swept sets several groups, and so does a table;
    every key of the science goes to the jobs then. Raises ConfigError for what Hydra cannot parse.
    """
    overrides = get_args_parser().parse_intermixed_args(list(arguments)).overrides
    items = parse(overrides, "the command line")
    of_table = any(item.key_or_group == "table" for item in items)
    swept = [item.key_or_group for item in items if item.is_sweep_override() and (CONF / item.key_or_group).is_dir()]
    sections = [*SECTIONS, "seed"] if of_table else SECTIONS if "experiment" in swept else ()
    own = []
    for argument, item in zip(overrides, items, strict=True):
        below = item.key_or_group not in swept and any(_is_below(item.key_or_group, group) for group in swept)
        if below or any(_is_below(item.key_or_group, section) for section in sections):
            own.append(argument)
    if not own:
        return list(arguments)
    texts = ",".join(QuotedString(_hidden(text), Quote.single).with_quotes() for text in own)
    return [*(argument for argument in arguments if argument not in own), f"hydra.sweeper.arguments=[{texts}]"]


def _hidden(argument: str) -> str:
    """An argument in which OmegaConf finds no interpolation: the jobs' configs resolve it, not the sweep's."""
    return argument.replace("%", "%25").replace("$", "%24")


def of_jobs(hidden: Sequence[str]) -> list[str]:
    """The arguments that `hydra.sweeper.arguments` holds, as they were typed."""
    return [text.replace("%24", "$").replace("%25", "%") for text in hidden]


def compose_jobs(load: Load, jobs: Sequence[Sequence[str]]) -> list[Composed]:
    """The config of every job; `load` composes one from its overrides.

    attention=none, the baseline of a sweep over attentions, leaves out the keys of attention that other jobs have.
    Raises ConfigError for a key that no job has, or that a job with another attention lacks.
    """
    if len(jobs) == 1:
        return [Composed(list(jobs[0]), load(list(jobs[0])))]
    composed, failed = [], []
    for overrides in map(list, jobs):
        try:
            composed.append(compose_job(load, overrides))
        except EXPECTED as error:
            failed.append((overrides, error))
    if failed:
        raise ConfigError(_refusal(*failed[0], jobs)) from failed[0][1]
    check_left_out(composed)
    return composed


def compose_job(load: Load, overrides: list[str]) -> Composed:
    """One job; with attention=none it leaves out the keys that none does not have."""
    try:
        config = load(overrides)
        if not no_knobs(config.attention):  # +attention.foo=1 composes
            return Composed(overrides, config)
    except EXPECTED:
        if (baseline := _without_knobs(load, overrides)) is None:
            raise
        return baseline
    return _without_knobs(load, overrides) or Composed(overrides, config)


def check_left_out(jobs: Sequence[Composed]) -> None:
    """Raise ConfigError when attention=none leaves out a key that no other job has."""
    known = {_key(o) for job in jobs if not _is_none(job.config) for o in job.overrides}
    for job in jobs:
        for override in job.left_out:
            if (key := _key(override)) not in known:
                allowed = _keys_beside(key, [[*other.overrides, *other.left_out] for other in jobs])
                if key in allowed or "/" in key:
                    raise ConfigError(f"{key}: attention=none has none, and no other run has another attention")
                raise ConfigError(no_such_key(key, allowed))


def left_out(jobs: Sequence[Composed]) -> str:
    """One line that says what attention=none was not given; empty where that is nothing."""
    keys = dict.fromkeys(_key(o) for job in jobs for o in job.left_out)
    return f"attention=none has no {', '.join(keys)}: its runs are without" if keys else ""


def _without_knobs(load: Load, overrides: list[str]) -> Composed | None:
    """The job without the keys that attention=none lacks; None where its attention is another one."""
    knobs = [o for o in overrides if _key(o) != "attention" and _is_below(_key(o), "attention")]
    try:
        bare = load([o for o in overrides if o not in knobs])
        if not knobs or not _is_none(bare):
            return None
        lacking = [o for o in knobs if OmegaConf.select(bare, _key(o).replace("/", "."), default=o) == o]
        kept = [o for o in overrides if o not in lacking]
        return Composed(kept, load(kept), lacking)
    except EXPECTED:
        return None


def _is_none(config: DictConfig) -> bool:
    return OmegaConf.select(config, "attention._target_") == NOTHING


def _refusal(overrides: Sequence[str], error: Exception, jobs: Sequence[Sequence[str]]) -> str:
    """The message for a job that could not be composed. A key that no job has is held against the keys of them all."""
    message = explain(error, overrides)
    key = message.split(":", 1)[0]
    if not message.startswith(f"{key}: no such key"):
        return message
    allowed = _keys_beside(key, jobs)
    if key not in allowed:
        return no_such_key(key, allowed)
    common = set.intersection(*(set(job) for job in jobs))
    where = " ".join(o for o in overrides if o not in common)
    return f"{where}: {key}: no such key here, though other runs of this sweep have it; leave out {where}, or the key"


def _keys_beside(key: str, jobs: Sequence[Sequence[str]]) -> list[str]:
    """The keys beside `key` in the configs of all jobs, once for each choice of groups."""
    choices = {tuple(o for o in job if (CONF / _key(o)).is_dir()) for job in jobs}
    return list(dict.fromkeys(name for chosen in sorted(choices) for name in siblings(key, chosen)))


def _key(override: str) -> str:
    return override.split("=", 1)[0].lstrip("+~")


def _is_below(key: str, group: str) -> bool:
    return f"{key}.".replace("/", ".").startswith(f"{group}.".replace("/", "."))
