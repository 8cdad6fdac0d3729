"""A captured step repeats the step, with the learning rate, the images and the random numbers of today."""

import sys
from pathlib import Path

import pytest
import torch

import attnlab
from attnlab.machine.graphs import DirectCalls
from attnlab.training.graph_step import WARM_UP, GraphStep

sys.path.insert(0, str(Path(__file__).parents[1] / "machine"))
from recorded_graph import RecordedGraphs

NETS = {
    "none": ["attention=none"],
    "SE": ["attention=se", "attention.reduction=4"],
    "CBAM": ["attention=cbam", "attention.reduction=4"],
    "LTPA with dropout": ["head=ltpa_saoyan", "head.dropout=0.5", "head.norm_vectors=true", "head.levels=2"],
}
OPTIMIZERS = {
    "SGD": lambda groups: torch.optim.SGD(groups, lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4),
    "AdamW": lambda groups: torch.optim.AdamW(groups, lr=0.01),
}


def as_it_is(images, labels):
    return images, labels


def fail(reason):
    raise AssertionError(reason)


def train(graphs, net, optimizer, steps=7, bf16=False, on_failure=fail):
    """Weights, buffers and losses after some steps, each with its own batch, learning rate and seed."""
    net = attnlab.build(attnlab.config(["model=resnet8", *net])).train()
    optimizer = OPTIMIZERS[optimizer](net.parameters())
    step = GraphStep(net, optimizer, graphs, batch_size=4, on_failure=on_failure)
    draw, losses = torch.Generator().manual_seed(1), []
    for number in range(steps):
        size = 2 if number == 4 else 4  # a smaller batch in between
        batch = torch.randn(size, 3, 32, 32, generator=draw), torch.randint(10, (size,), generator=draw)
        for group in optimizer.param_groups:
            group["lr"] = 0.01 / (1 + number)
        torch.manual_seed(number)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            losses.append(float(step(batch, as_it_is)[0]))
    assert all(isinstance(group["lr"], float) for group in optimizer.param_groups)
    assert not any(group["fused"] for group in optimizer.param_groups)
    return net.state_dict(), losses


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("bf16", [False, True])
def test_a_replay_is_the_step(net, optimizer, bf16):
    recorded = RecordedGraphs()
    weights, losses = train(recorded, NETS[net], optimizer, bf16=bf16)
    expected, expected_losses = train(DirectCalls(fused=True), NETS[net], optimizer, bf16=bf16)
    assert (recorded.made, recorded.replays) == (1, 7 - WARM_UP - 1)
    assert losses == expected_losses
    assert len(set(losses)) == len(losses)
    for name, tensor in weights.items():
        assert torch.equal(tensor, expected[name]), name


def test_a_value_that_is_read_on_the_host_prevents_a_graph():
    class Reading(torch.nn.Linear):
        def forward(self, x):
            return super().forward(x.flatten(1)) * float(x.sum() > 0)

    reasons, net = [], Reading(12, 3)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    step = GraphStep(net, optimizer, RecordedGraphs(), batch_size=4, on_failure=reasons.append)
    for _ in range(6):
        step((torch.ones(4, 3, 2, 2), torch.zeros(4, dtype=torch.int64)), as_it_is)
    assert len(reasons) == 1
    assert "not permitted when stream is capturing" in reasons[0]


def test_images_are_cut_and_augmented_within_the_graph(tmp_path):
    """Chunks give indices and draws; the batch that they make is the loader's batch."""
    from attnlab.configuration.compose import check
    from attnlab.data.build import make_datamodule
    from attnlab.data.chunks import Chunks

    augment = "recipe.augment={flip: true, crop: 4, crop_fill: mean, shift: 0.1}"
    overrides = ["dataset.train_size=130", "dataset.test_size=50", "recipe.validation.images=30", augment]
    data = make_datamodule(check(attnlab.config([*overrides, "recipe.batch_size=30"])))
    data.setup()
    loader = data.train_dataloader()
    chunks = list(Chunks(loader, 3))
    assert [len(chunk.inputs) for chunk in chunks] == [3, 1]
    assert len(Chunks(loader, 3)) == len(loader) == 4
    assert [chunk.images for chunk in chunks] == [90, 10]
    replay, static = None, [tensor.clone() for tensor in chunks[0].inputs[0]]
    made = torch.zeros(30, 3, 32, 32)
    replay = RecordedGraphs().capture(lambda: made.copy_(chunks[0].make_batch(*static)[0]))
    for inputs, (images, labels) in zip(chunks[0].inputs, loader, strict=False):
        again, again_labels = chunks[0].make_batch(*inputs)
        assert torch.equal(again, images)
        assert torch.equal(again_labels, labels)
        for own, tensor in zip(static, inputs, strict=True):
            own.copy_(tensor)
        replay()
        assert torch.equal(made, images)
