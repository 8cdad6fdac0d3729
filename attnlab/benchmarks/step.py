"""A training step: forward, loss, backward and the optimizer's step, on a batch that is on the device already.

First, over the net under `machine`: the same net in float32, NCHW and eager; and the `plain` one, under `machine` but
without fused gates and norms. Then what an attention adds, with attention / without - 1: ours, ours with
both nets plain, and timm's module in the same slot. machine.compile=true compiles the net under `machine`;
compiled=true also compiles the nets that show what an attention adds. Recipe: modern, unless another is named.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from attnlab.benchmarks.bare_loop import stepping
from attnlab.benchmarks.options import BenchOptions, Setting, describe, plain_setting, setting
from attnlab.benchmarks.report import Report, Row
from attnlab.benchmarks.timing import interleaved
from attnlab.benchmarks.timm_pairs import TWINS, nodes
from attnlab.configuration.identity import OF_SLOTS

DEFAULTS = ("recipe=modern",)  # batch 128, SGD with Nesterov
ATTENTIONS = ("none", "se", "cbam")


def with_timm(values: dict[str, Any], name: str) -> dict[str, Any] | None:
    """The config with timm's module in our attention's slots; None where its hyper-parameters are not ours."""
    if name not in TWINS:
        return None
    ours, timms = nodes(name)
    same = {key: item for key, item in values["attention"].items() if key not in ("place", *OF_SLOTS)}
    if same != {key: item for key, item in ours.items() if key not in ("place", *OF_SLOTS)}:
        return None
    placed = {key: values["attention"][key] for key in ("place", *OF_SLOTS)}
    return values | {"attention": timms | placed}


def sides(options: BenchOptions, here: Setting, name: str) -> dict[str, Callable[[], object]]:
    """{what is run, and how: a function that does one step}, of all that is compared for one attention."""
    extra = replace(here, compile=options.flag("compiled"))
    fast = replace(here, compile=here.compile or extra.compile)
    values = options.values(*DEFAULTS, attention=name)
    found = {"float32": stepping(values, plain_setting(here)), "machine": stepping(values, fast)}
    plain = replace(here, accelerate=False)
    if not fast.compile:  # the compiler gets the plain form anyway
        found["plain"] = stepping(values, plain)
    if name == "none":
        return found
    if extra != fast:
        found["ours"] = stepping(values, extra)
    found["none"] = stepping(options.values(*DEFAULTS), extra)
    if "plain" in found:
        found["plain none"] = stepping(options.values(*DEFAULTS), plain)
    if timms := with_timm(values, name):
        found["timm"] = stepping(timms, extra)
    return found


def step(options: BenchOptions) -> Report:
    """Float32, NCHW, eager over `machine`, for each attention; and what each adds to the step."""
    values = options.values(*DEFAULTS)
    here = setting(values)
    case = f"{net_name(options)}, batch {values['recipe']['batch_size']}"
    rows, added = [], []
    for name in dict.fromkeys(options.attentions or ATTENTIONS):
        seconds = interleaved(sides(options, here, name), options.repeats)
        seconds.setdefault("ours", seconds["machine"])
        rows += [Row(f"{case}, {name}", seconds, kind, "machine") for kind in ("float32", "plain") if kind in seconds]
        added += [
            Row(f"{case}, {name} adds", seconds, kind, over, "extra")
            for kind, over in (("ours", "none"), ("plain", "plain none"), ("timm", "none"))
            if kind in seconds and name != "none"
        ]
    compiled = ", all compiled" if options.flag("compiled") else ", machine compiled" if here.compile else ""
    title = f"a training step: float32, NCHW, eager over machine; with an attention over none{compiled}"
    return Report("step", title, [*rows, *added], describe(here))


def net_name(options: BenchOptions) -> str:
    """What was typed of model and head, `model=resnet20` by default."""
    typed = [o for o in options.overrides if o.split("=")[0].split(".")[0] in ("model", "head", "experiment")]
    return " ".join(typed) or "model=resnet20"
