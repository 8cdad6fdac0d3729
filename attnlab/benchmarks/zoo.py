"""The menu of attentions, `python -m attnlab.bench zoo`: what each is, where it stands and what it adds to a model.

kind: what the module's effect varies over: channel, spatial, both, or kernel for what replaces a convolution;
inverse: whether the mask group gives it one; parameters and MACs: what it adds to the chosen model, for one image.
"""

import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from attnlab.configuration.compose import CONF, choices, compose_file, plain
from attnlab.errors import ConfigError

COLUMNS = ("attention", "kind", "inverse", "place", "parameters", "MACs", "source")


def zoo(overrides: Sequence[str] = (), names: Sequence[str] = ()) -> list[dict[str, Any]]:
    """One row of COLUMNS for every conf/attention/*.yaml, `none` first.

    names: which ones instead; else variants of a source's code (`*_laakom2021`) are left out. What the overrides or the
    model do not suit is `not here`; where attention=NAME asked for it, ConfigError says why.
    """
    from attnlab.models.costs import count_macs
    from attnlab.models.network import build

    asked = [name for o in overrides if o.startswith("attention=") for name in o.partition("=")[2].split(",")]
    rest = [o for o in overrides if not o.startswith("attention=")]
    base = plain(compose_file("run", [*(o for o in rest if not o.startswith("attention")), "attention=none"]))
    bare = build(base)
    params, macs = _parameters(bare), count_macs(bare, base)
    every = sorted((n for n in choices("attention") if "_laakom" not in n), key=lambda n: (n != "none", n))
    rows = []
    for name in names or asked or every:
        row: dict[str, Any] = dict.fromkeys(COLUMNS, "") | {"attention": name}
        try:
            values = plain(compose_file("run", [*rest, f"attention={name}"]))
            node = values["attention"]
            row["source"] = source(name)
            row |= {"inverse": "yes" if "mask" in node else "no", "place": node.get("place") or ""}
            net = build(values)
            row |= {"parameters": _parameters(net) - params, "MACs": count_macs(net, values) - macs, "kind": kind(node)}
        except ConfigError:
            if name in asked:
                raise
            row["parameters"] = "not here"
        rows.append(row)
    return rows


def _parameters(net: Any) -> int:
    return sum(p.numel() for p in net.parameters() if p.requires_grad)


def kind(node: Mapping[str, Any]) -> str:
    """What the effect of an attention varies over, measured: y / x of a gate, y - x of another module."""
    import torch

    from attnlab.attention.placement import make_attention

    if node.get("place") is None:
        return ""
    if node["place"] == "kernel":
        return "kernel"
    for channels in (64, 256, 1024):  # the fewest that a ratio or a number of groups suits
        with torch.random.fork_rng(devices=[]), suppress(ConfigError):
            torch.manual_seed(0)
            module = make_attention(node, channels, size=8, in_channels=channels).double().eval()
            for parameter in module.parameters():  # away from a start at zero
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
    """What the yaml's first comment says before its colon: name, authors, year, reference."""
    found = re.search(r"# *(.+)", (CONF / "attention" / f"{name}.yaml").read_text())
    return found[1].split(": ")[0] if found else ""


def show(rows: Sequence[Mapping[str, Any]], title: str) -> None:
    """Print the menu to the terminal."""
    from rich.console import Console
    from rich.table import Table

    drawn = Table(title=title, title_justify="left")
    for column in COLUMNS:
        drawn.add_column(
            column, justify="right" if column in ("parameters", "MACs") else "left", no_wrap=column != "source"
        )
    for row in rows:
        drawn.add_row(*(f"{row[c]:,}" if isinstance(row[c], int) else str(row[c]) for c in COLUMNS))
    Console(width=None if sys.stdout.isatty() else 150).print(drawn)
