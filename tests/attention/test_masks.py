"""The masks' formulas, their ranges (papers.md 1.1) and the identities between them."""

import pytest
import torch
from torch import nn

from attnlab.attention import masks
from attnlab.attention.gate import Gate, spread
from attnlab.configuration.compose import compose_file, plain
from attnlab.configuration.groups import choices
from attnlab.configuration.targets import construct
from attnlab.errors import ConfigError

Z = torch.linspace(-30, 30, 4001, dtype=torch.float64)
SIGMOID_1 = float(torch.sigmoid(torch.tensor(1.0, dtype=torch.float64)))  # 0.7311


def mask(name: str) -> torch.nn.Module:
    return construct(
        plain(compose_file("run", ["attention=se", f"attention/mask={name}"]))["attention"]["mask"], "mask"
    )


# gate at z = 0, infimum, supremum: the table of the inverse-attention code's variants
TABLE = {
    "attend": (0.5, 0, 1),
    "attend_08": (0.4, 0, 0.8),
    "attend_05": (0.25, 0, 0.5),
    "ignore": (0.5, 0, 1),
    "ignore_08": (0.6, 0.2, 1),
    "ignore_05": (0.75, 0.5, 1),
    "reciprocal": (0.8808, SIGMOID_1, 1),
    "reciprocal_raw": (1, 0, 1),
    "negated": (0.5, 0, 1),
    "exponential": (1, 0, 1),
    "sigmoid_exponential": (SIGMOID_1, 0.5, SIGMOID_1),
    "attend_floor": (0.75, 0.5, 1),
    "hard": (1, 0, 1),
    "hard_sigmoid": (0.5, 0, 1),
}


def test_the_table_covers_every_mask():
    assert set(TABLE) | {"relu", "tanh", "linear"} == set(choices("attention/mask"))


def test_the_se_papers_ablations():
    assert torch.equal(mask("relu")(Z), Z.clamp(min=0))
    assert torch.allclose(mask("tanh")(Z), 2 * torch.sigmoid(2 * Z) - 1, atol=1e-12)


def test_the_masks_without_a_sigmoid():
    assert torch.equal(mask("linear")(Z), Z)
    assert torch.allclose(mask("hard_sigmoid")(Z), (Z / 6 + 0.5).clamp(0, 1), atol=1e-12)


@pytest.mark.parametrize("name", TABLE)
def test_values(name):
    at_zero, low, high = TABLE[name]
    m = mask(name)(Z)
    assert float(mask(name)(torch.zeros(1, dtype=torch.float64))) == pytest.approx(at_zero, abs=1e-4)
    assert float(m.min()) >= low - 1e-6
    assert float(m.max()) <= high + 1e-6
    assert float(m.min()) == pytest.approx(low, abs=1e-3)
    assert float(m.max()) == pytest.approx(high, abs=1e-3)


def test_ignoring_with_alpha_1_is_attending_to_the_negated_score():
    m = masks.Attend()(-Z)
    assert torch.allclose(masks.Ignore()(Z), m, atol=1e-15)
    assert torch.equal(masks.Negated()(Z), m)


@pytest.mark.parametrize("alpha", [1.0, 0.8, 0.5])
def test_ignore_is_attend_with_a_floor(alpha):
    assert torch.allclose(masks.Ignore(alpha)(Z), masks.AttendFloor(1 - alpha)(-Z), atol=1e-15)


def test_attend_floor_at_0_is_attend():
    assert torch.equal(masks.AttendFloor(0.0)(Z), masks.Attend()(Z))


def test_hard_is_a_step_with_the_gradient_of_the_sigmoid():
    z = Z.clone().requires_grad_()
    m = masks.Hard()(z)
    assert torch.allclose(m, (Z >= 0).double(), atol=1e-15)
    m.sum().backward()
    soft = torch.sigmoid(Z)
    assert torch.allclose(z.grad, soft * (1 - soft), atol=1e-15)


@pytest.mark.parametrize("make", [masks.Attend, masks.Ignore, masks.AttendFloor])
def test_a_share_outside_0_to_1_is_refused(make):
    with pytest.raises(ConfigError, match=r"attention\.mask\.\w+=1\.5; allowed is 0 to 1"):
        make(1.5)


def test_a_mask_of_coarser_scores_is_spread_over_the_map():
    """Elementwise masks and nearest neighbours commute; one value a map, a row or a column broadcasts by itself."""
    x = torch.randn(2, 4, 6, 9, generator=torch.Generator().manual_seed(0))
    gate = Gate(nn.AvgPool2d(3), nn.Sigmoid(), "residual")
    wide = nn.functional.interpolate(nn.functional.avg_pool2d(x, 3), size=(6, 9), mode="nearest")
    assert torch.allclose(gate(x), x * (1 + torch.sigmoid(wide)), rtol=0, atol=1e-6)
    for shape in ((2, 4, 1, 1), (2, 4, 6, 1), (2, 4, 1, 9), (2, 1, 6, 9)):
        m = torch.rand(shape)
        assert spread(m, x) is m
    assert spread(torch.tensor(0.5), x).dim() == 0
    with pytest.raises(RuntimeError, match="must match the size"):
        Gate(nn.Upsample(scale_factor=2), nn.Sigmoid())(x)  # finer than x
