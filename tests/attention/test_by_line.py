"""Attention by the line: create_attention and the ready modules are what a backbone of the lab would get."""

import inspect

import pytest
import torch

import attnlab
import attnlab.attention
import attnlab.attention.se
from attnlab.attention.by_line import create_attention, ready_modules
from attnlab.attention.gate import Gate
from attnlab.attention.masks import Ignore
from attnlab.attention.placement import make_attention
from attnlab.configuration.compose import compose_file, plain
from attnlab.configuration.groups import choices
from attnlab.errors import ConfigError

#: what some attentions need besides their channels
MORE = {
    "ge_theta": {"size": 8}, "ge_theta_plus": {"size": 8}, "pse": {"in_channels": 32}, "cpse": {"in_channels": 32},
    **{name: {"in_channels": 32, "stride": 1} for name in ("sk", "cot", "epsa", "parnet", "split_attention")},
    "axial": {"in_channels": 32, "stride": 1, "size": 8}, "nam_spatial": {"size": 8},
}  # fmt: skip
X = torch.randn(2, 32, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", choices("attention"))
def test_it_is_the_attention_of_a_config(name):
    """Class by class and weight by weight."""
    node = plain(compose_file("run", [f"attention={name}"]))["attention"]
    torch.manual_seed(0)
    expected = make_attention(node, 32, **MORE.get(name, {}))
    torch.manual_seed(0)
    found = attnlab.create_attention(name, 32, **MORE.get(name, {}))
    assert [type(module) for module in found.modules()] == [type(module) for module in expected.modules()]
    state, other = found.state_dict(), expected.state_dict()
    assert state.keys() == other.keys()
    assert all(torch.equal(state[key], other[key]) for key in state)
    inputs = (X, X) if name in ("pse", "cpse") else (X,)
    assert found.eval()(*inputs).shape == (2, 32, 8, 8)


def test_mask_apply_and_knobs():
    gate = create_attention("se", 32, mask="ignore_05", apply="residual", reduction=8)
    assert isinstance(gate, Gate)
    assert isinstance(gate.mask, Ignore)
    assert gate.mask.alpha == 0.5
    assert gate.how == "residual"
    assert gate.score.excite.reduce.out_features == 4
    inverse = attnlab.attention.ISE(32)
    assert isinstance(inverse.mask, Ignore)
    assert inverse.mask.alpha == 1


def test_ready_modules():
    from attnlab.attention import CBAM, ECA, GC, SE, SimAM

    for make in (CBAM, ECA, GC, SE, SimAM):
        assert make(32)(X).shape == X.shape
    assert isinstance(CBAM(32, mask="ignore").channel.mask, Ignore)
    assert SE is not attnlab.attention.se.SE
    assert attnlab.attention.se.SE(32)(X).shape == (2, 32, 1, 1)  # a score: its path and its output stay
    assert SE.__name__ == "SE"
    assert SE.__doc__.startswith("Squeeze-and-Excitation, Hu et al. 2018")
    assert "channels" in inspect.signature(SE).parameters


def test_every_attention_that_varies_no_other_has_a_name():
    names = ready_modules()
    left = set(choices("attention")) - set(names.values())
    assert {"none", "eca_official"} <= left
    assert all(name == "none" or name.rsplit("_", 1)[0] in choices("attention") or "laakom" in name for name in left)
    assert set(names) <= set(dir(attnlab.attention))
    assert len(names) >= 28
    for name, choice in names.items():
        assert getattr(attnlab.attention, name)(32, **MORE.get(choice, {})) is not None
    with pytest.raises(ImportError, match="CBMA"):
        from attnlab.attention import CBMA  # noqa: F401
    with pytest.raises(AttributeError, match=r"no attribute 'CBMA'; its modules are .*CBAM"):
        _ = attnlab.attention.CBMA


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "cbma"}, r"^unknown choice attention=cbma; did you mean cbam\? allowed are "),
        ({"name": "se", "mask": "ingore"}, r"^unknown choice attention/mask=ingore; did you mean ignore\?"),
        ({"name": "se", "reductoin": 8}, r"^unknown key attention.reductoin; did you mean attention.reduction\?"),
        ({"name": "se", "reduction": 64}, r"^wrong value attention.reduction=64; allowed is an integer from 1 to 32"),
        ({"name": "se", "apply": "add"}, r"^wrong value attention.apply=add; allowed are scale, residual"),
        ({"name": "se", "place": "pre"}, r"^unknown key attention.place; only a backbone of attnlab reads it"),
        ({"name": "gc", "mask": "ignore"}, r"^unknown key attention.mask; it has no mask and no inverse"),
        ({"name": "ge_theta"}, r"^missing argument size, H = W of its maps, in pixels; attention=ge_theta needs it"),
        ({"name": "pse"}, r"^missing argument in_channels, .*; attention=pse needs it"),
        ({"name": "sk", "in_channels": 32}, r"^missing argument stride, .*; attention=sk needs it"),
    ],
)
def test_bad_input_gives_one_message(arguments, message):
    with pytest.raises(ConfigError, match=message) as found:
        create_attention(channels=32, **arguments)
    assert "\n" not in str(found.value)
