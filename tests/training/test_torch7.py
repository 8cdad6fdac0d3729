"""The recipe of Learn To Pay Attention steps as its Torch7 scripts do: damped momentum, halvings, decay, batches."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

import attnlab
from attnlab.configuration.compose import plain
from attnlab.data.batches import training_batches
from attnlab.training.trainer import make_classifier

EPOCHS, STEPS = 52, 4  # crosses the halvings before epochs 25 and 50
X = torch.randn(STEPS * EPOCHS, 8, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
Y = torch.randn(STEPS * EPOCHS, 8, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def net():
    made = nn.Linear(3, 2).double()
    with torch.no_grad():
        made.weight.copy_(torch.arange(6.0).view(2, 3) / 3 - 1)
        made.bias.fill_(0.5)
    return made


def torch7(lr, momentum=0.9, weight_decay=5e-4, lr_decay=1e-7, every=25):
    """torch/optim@a5ceed7 sgd.lua in the loop of main_AttLevel3_1global.lua:train, by hand: parameters after each step.

    dfdx = gradient + weight_decay x;  state = dfdx at the first step, else momentum state + (1 - momentum) dfdx;
    x -= lr / (1 + calls so far * lr_decay) * state;  lr halves before each epoch that `every` divides, from 1.
    """
    w, b, state, calls, found = *(p.detach().clone() for p in net().parameters()), None, 0, []
    for epoch in range(1, EPOCHS + 1):
        if epoch % every == 0:
            lr *= 0.5
        for _ in range(STEPS):
            x, y = X[calls], Y[calls]
            slope = 2 * (x @ w.T + b - y) / y.numel()  # of the mean squared error
            dfdx = [slope.T @ x + weight_decay * w, slope.sum(0) + weight_decay * b]
            pairs = zip(state or dfdx, dfdx, strict=True)
            state = [momentum * s + (1 - momentum) * d for s, d in pairs] if state else dfdx
            w, b = (p - lr / (1 + calls * lr_decay) * s for p, s in zip((w, b), state, strict=True))
            calls += 1
            found.append(torch.cat([w.flatten(), b]))
    return torch.stack(found)


def ours(*overrides):
    """The same by the optimizer and the schedule that the recipe makes."""
    values = plain(attnlab.config(["recipe=jetley2018", "dataset=cifar10", *overrides]))
    classifier = make_classifier(values, net())
    classifier._trainer = SimpleNamespace(
        fit_loop=SimpleNamespace(setup_data=lambda: None),
        estimated_stepping_batches=STEPS * values["recipe"]["epochs"], num_training_batches=STEPS,
    )  # fmt: skip
    made = classifier.configure_optimizers()
    optimizer, scheduler, found = made["optimizer"], made["lr_scheduler"]["scheduler"], []
    for x, y in zip(X, Y, strict=True):
        optimizer.zero_grad()
        nn.functional.mse_loss(classifier.net(x), y).backward()
        optimizer.step()
        scheduler.step()
        found.append(torch.cat([p.detach().flatten() for p in classifier.net.parameters()]))
    return torch.stack(found)


@pytest.mark.parametrize(("lr", "overrides"), [(1.0, []), (0.1, ["dataset=svhn", "recipe.optimizer.lr=0.1"])])
def test_the_recipe_is_torch7s_sgd(lr, overrides):
    torch.testing.assert_close(ours(*overrides), torch7(lr), rtol=1e-12, atol=1e-14)


def test_the_tables_have_the_scripts_rates():
    for name, lr in (("cifar10", 1.0), ("cifar100", 1.0), ("svhn", 0.1)):
        optimizer = attnlab.config([f"table=ltpa_{name}"]).recipe.optimizer
        assert (optimizer.lr, optimizer.momentum, optimizer.dampening) == (lr, 0.9, 0.9)


def steps(gradients, **optimizer):
    """What the optimizer moves a parameter by, step by step."""
    parameter = torch.zeros(gradients.shape[1], requires_grad=True)
    made, found = torch.optim.SGD([parameter], **optimizer), []
    for parameter.grad in gradients:
        before = parameter.detach().clone()
        made.step()
        found.append((before - parameter.detach()).norm())
    return torch.stack(found)


@pytest.mark.parametrize("gradients", [torch.ones(200, 1), torch.randn(200, 50_000)], ids=["equal", "drawn"])
def test_the_recipes_rate_is_a_tenth_of_it_without_dampening_but_for_the_first_steps(gradients):
    """Its first gradient is not damped: that step is ten times the other, later ones are the same."""
    recipe = plain(attnlab.config(["recipe=jetley2018", "dataset=cifar10"]))["recipe"]["optimizer"]
    knobs = {name: item for name, item in recipe.items() if name != "_target_"}
    ratio = steps(gradients, **knobs) / steps(gradients, lr=knobs["lr"] / 10, momentum=knobs["momentum"])
    assert float(ratio[0]) == pytest.approx(10)
    assert 1.3 < float(ratio[10]) < 2.5
    assert float(ratio[50]) == pytest.approx(1, abs=0.01)
    assert float(ratio[199]) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(("images", "batches"), [(50_000, 390), (73_257, 572)])
def test_the_smaller_batch_that_ends_an_epoch_is_left_out(images, batches):
    recipe = attnlab.config(["recipe=jetley2018", "dataset=cifar10"]).recipe
    plan = training_batches(images, recipe.batch_size, 0, 0, drop_last=recipe.drop_last)
    assert [len(batch) for batch in plan] == [128] * batches


def test_saoyans_recipe_is_pytorchs():
    recipe = attnlab.config(["recipe=saoyan", "dataset=cifar10"]).recipe
    assert recipe.optimizer == {"_target_": "torch.optim.SGD", "lr": 0.1, "momentum": 0.9, "nesterov": False}
    assert recipe.schedule.milestones[:2] == [25, 50]
    assert "drop_last" not in recipe
