"""The menu of attentions, `python -m attnlab.bench zoo`: kind, place, and cost of each attention in a model.

kind: the axes over which the module's effect varies: channel, spatial, both; kernel for one that replaces a
convolution;  inverse: whether attention/mask=ignore applies to it;  parameters, MACs: what it adds to the chosen model,
for one image.
"""

import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from attnlab.configuration.compose import check, compose_file, plain
from attnlab.configuration.groups import CONF, choices
from attnlab.errors import ConfigError

COLUMNS = ("attention", "kind", "inverse", "place", "parameters", "MACs", "source")
NUMBERS = ("parameters", "MACs")


def zoo(overrides: Sequence[str] = (), names: Sequence[str] = ()) -> list[dict[str, Any]]:
    """One row of COLUMNS for every conf/attention/*.yaml, `none` first, without the variants `*_laakom2021`.

    names: rows for these attentions instead. An attention that does not fit the model or the overrides has `not here`
    in the column parameters; if attention=NAME is among the overrides, ConfigError says why it does not fit.
    """
    import torch

    from attnlab.models.costs import count_macs
    from attnlab.models.network import build

    named = [name for o in overrides if o.startswith("attention=") for name in o.partition("=")[2].split(",")]
    rest = [o for o in overrides if not o.startswith("attention=")]
    base = check(compose_file("run", [*(o for o in rest if not o.startswith("attention")), "attention=none"]))
    with torch.device("meta"):  # computes shapes alone
        bare = build(base)
        params, macs = _parameters(bare), count_macs(bare, base)
    every = sorted((n for n in choices("attention") if "_laakom" not in n), key=lambda n: (n != "none", n))
    rows = []
    for name in names or named or every:
        row: dict[str, Any] = dict.fromkeys(COLUMNS, "") | {"attention": name}
        try:
            values = plain(compose_file("run", [*rest, f"attention={name}"]))
            node = values["attention"]
            row["source"] = source(name)
            row |= {"inverse": "yes" if "mask" in node else "no", "place": node.get("place") or ""}
            with torch.device("meta"):
                net = build(values)
                row |= {"parameters": _parameters(net) - params, "MACs": count_macs(net, values) - macs}
            row["kind"] = kind(node)
        except ConfigError:
            if name in named:
                raise
            row["parameters"] = "not here"
        rows.append(row)
    return rows


def _parameters(net: Any) -> int:
    return sum(p.numel() for p in net.parameters() if p.requires_grad)


def kind(node: Mapping[str, Any]) -> str:
    """The axes over which an attention's effect varies, measured: y / x of a gate, y - x of another module."""
    import torch

    from attnlab.attention.placement import make_attention

    if node.get("place") is None:
        return ""
    if node["place"] == "kernel":
        return "kernel"
    for channels in (64, 256, 1024):  # the smallest number that fits its ratio or its groups
        with torch.random.fork_rng(devices=[]), suppress(ConfigError):
            torch.manual_seed(0)
            module = make_attention(node, channels, size=8, in_channels=channels).double().eval()
            for parameter in module.parameters():  # a module initialised to zero has no effect
                parameter.data.add_(0.3 * torch.randn_like(parameter))
            x = 0.5 + torch.rand(1, channels, 8, 8, dtype=torch.float64)
            with torch.no_grad():
                y = module(x)
            effect = y / x if "mask" in node else y - x
            over_space = float(effect.std(dim=(2, 3)).max()) > 1e-9
            over_channels = float(effect.std(dim=1).max()) > 1e-9
            kinds = {(True, True): "both", (True, False): "spatial", (False, True): "channel"}
            return kinds.get((over_space, over_channels), "none")
    return ""


def source(name: str) -> str:
    """The first comment of the yaml up to its colon: name, authors, year, reference."""
    found = re.search(r"# *(.+)", (CONF / "attention" / f"{name}.yaml").read_text())
    return found[1].split(": ")[0] if found else ""


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """The menu as a Markdown table."""
    lines = [f"| {' | '.join(COLUMNS)} |", "|" + "|".join("---:" if c in NUMBERS else "---" for c in COLUMNS) + "|"]
    return "\n".join([*lines, *(f"| {' | '.join(_text(row[c]) for c in COLUMNS)} |" for row in rows)])


def _text(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def show(rows: Sequence[Mapping[str, Any]], title: str) -> None:
    """Print the menu to the terminal."""
    from rich.console import Console
    from rich.table import Table

    drawn = Table(title=title, title_justify="left")
    for column in COLUMNS:
        drawn.add_column(column, justify="right" if column in NUMBERS else "left", no_wrap=column != "source")
    for row in rows:
        drawn.add_row(*(_text(row[c]) for c in COLUMNS))
    Console(width=None if sys.stdout.isatty() else 150).print(drawn)
