"""The overrides of each job of a sweep.

Hydra composes one config for the sweep itself, in which swept groups have their default choice. There
`-m attention=se,cbam attention.reduction=4` would set a key that attention=none does not have. So an override of a key
below a swept group is withheld from Hydra and given to the jobs only.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from attnlab.configuration.checks import extra_keys
from attnlab.configuration.explain import explain, refused_key
from attnlab.configuration.groups import is_group
from attnlab.configuration.hydra_compose import all_keys, siblings
from attnlab.configuration.identity import SECTIONS
from attnlab.configuration.messages import unknown_key
from attnlab.configuration.overrides import parse
from attnlab.configuration.replaced_nodes import replacing
from attnlab.configuration.schema import NO_ATTENTION
from attnlab.errors import ConfigError

Load = Callable[[list[str]], DictConfig]
EXPECTED = (HydraException, OmegaConfBaseException, ConfigError)


@dataclass
class Composed:
    """One job. left_out: overrides of keys of attention that it was not given, since its attention is none."""

    overrides: list[str]
    config: DictConfig
    left_out: list[str] = field(default_factory=list)


def for_hydra(arguments: Sequence[str]) -> list[str]:
    """The command line of a sweep or a table, with the overrides for its jobs moved to `hydra.sweeper.arguments`.

    Those are every `key=value` below a swept group, and of a node that is replaced (replaced_nodes). A swept experiment
    or a table sets several groups; then all keys of SECTIONS are for the jobs. Raises ConfigError for what Hydra cannot
    parse.
    """
    overrides = get_args_parser().parse_intermixed_args(list(arguments)).overrides
    items = parse(overrides, "the command line")
    is_table = any(item.key_or_group == "table" for item in items)
    swept = [item.key_or_group for item in items if item.is_sweep_override() and is_group(item.key_or_group)]
    sections = [*SECTIONS, "seed"] if is_table else SECTIONS if "experiment" in swept else ()
    replaced, for_jobs = replacing(overrides), []
    for argument, item in zip(overrides, items, strict=True):
        below = item.key_or_group not in swept and any(_is_below(item.key_or_group, group) for group in swept)
        if below or argument in replaced or any(_is_below(item.key_or_group, section) for section in sections):
            for_jobs.append(argument)
    if not for_jobs:
        return list(arguments)
    texts = ",".join(QuotedString(_escape(text), Quote.single).with_quotes() for text in for_jobs)
    return [*(argument for argument in arguments if argument not in for_jobs), f"hydra.sweeper.arguments=[{texts}]"]


def _escape(argument: str) -> str:
    """Hide interpolations from OmegaConf, so that the config of each job resolves them, not the sweep's."""
    return argument.replace("%", "%25").replace("$", "%24")


def of_jobs(hidden: Sequence[str]) -> list[str]:
    """The overrides that `for_hydra` put into `hydra.sweeper.arguments`, as they were typed."""
    return [text.replace("%24", "$").replace("%25", "%") for text in hidden]


def compose_jobs(load: Load, jobs: Sequence[Sequence[str]]) -> list[Composed]:
    """Compose the config of every job. load: composes one config from overrides.

    In a sweep over attentions, the baseline attention=none is not given the keys of attention that it lacks. Raises
    ConfigError for a key that no job has, and for one that a job with another attention lacks.
    """
    if len(jobs) == 1:
        return [Composed(list(jobs[0]), load(list(jobs[0])))]
    composed = []
    for overrides in map(list, jobs):
        try:
            composed.append(compose_job(load, overrides))
        except EXPECTED as error:
            raise ConfigError(_refusal(overrides, error, jobs)) from error
    check_left_out(composed)
    return composed


def compose_job(load: Load, overrides: list[str]) -> Composed:
    """Compose one job; one with attention=none is not given the keys of attention that it lacks."""
    try:
        config = load(overrides)
        if not extra_keys(config.attention):  # +attention.foo=1 does not fail to compose
            return Composed(overrides, config)
    except EXPECTED:
        if (baseline := _without_extra_keys(load, overrides)) is None:
            raise
        return baseline
    return _without_extra_keys(load, overrides) or Composed(overrides, config)


def check_left_out(jobs: Sequence[Composed]) -> None:
    """Raise ConfigError for a key that attention=none was not given and no other job has."""
    known = {_key(o) for job in jobs if not _is_none(job.config) for o in job.overrides}
    for job in jobs:
        for override in job.left_out:
            if (key := _key(override)) not in known:
                allowed = _keys_beside(key, [[*other.overrides, *other.left_out] for other in jobs])
                if key in allowed or "/" in key:
                    raise ConfigError(f"unknown key {key}; all runs have attention=none, which has no such key")
                raise ConfigError(unknown_key(key, allowed, all_keys(job.overrides)))


def left_out(jobs: Sequence[Composed]) -> str:
    """One line with the keys that jobs with attention=none were not given; empty if there are none."""
    keys = dict.fromkeys(_key(o) for job in jobs for o in job.left_out)
    return f"runs with attention=none ignore {', '.join(keys)}, which it does not have" if keys else ""


def _without_extra_keys(load: Load, overrides: list[str]) -> Composed | None:
    """The job without the keys that attention=none lacks; None if its attention is another one."""
    below = [o for o in overrides if _key(o) != "attention" and _is_below(_key(o), "attention")]
    try:
        bare = load([o for o in overrides if o not in below])
        if not below or not _is_none(bare):
            return None
        lacking = [o for o in below if OmegaConf.select(bare, _key(o).replace("/", "."), default=o) == o]
        kept = [o for o in overrides if o not in lacking]
        return Composed(kept, load(kept), lacking)
    except EXPECTED:
        return None


def _is_none(config: DictConfig) -> bool:
    return OmegaConf.select(config, "attention._target_") == NO_ATTENTION


def _refusal(overrides: Sequence[str], error: Exception, jobs: Sequence[Sequence[str]]) -> str:
    """The message for a job that could not be composed. The message for an unknown key lists the keys of all jobs."""
    key = refused_key(error)
    if key is None or "/" in key:
        return explain(error, overrides)
    allowed = _keys_beside(key, jobs)
    if key not in allowed:
        return unknown_key(key, allowed, all_keys(overrides))
    common = set.intersection(*(set(job) for job in jobs))
    where = " ".join(o for o in overrides if o not in common)
    return f"unknown key {key} with {where}, but other runs of this sweep have it; leave out {where}, or the key"


def _keys_beside(key: str, jobs: Sequence[Sequence[str]]) -> list[str]:
    """The keys beside `key` in the configs of all jobs. Jobs with the same groups are composed once."""
    choices = {tuple(o for o in job if is_group(_key(o))) for job in jobs}
    return list(dict.fromkeys(name for chosen in sorted(choices) for name in siblings(key, chosen)))


def _key(override: str) -> str:
    return override.split("=", 1)[0].lstrip("+~")


def _is_below(key: str, group: str) -> bool:
    return f"{key}.".replace("/", ".").startswith(f"{group}.".replace("/", "."))
