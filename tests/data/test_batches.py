"""Orders and splits: every image once, whatever the ranks; stratified; from (seed, epoch) alone."""

import pytest
import torch

from attnlab.data.augment import DRAWS, Preprocess
from attnlab.data.batches import evaluation_batches, generator, stratified, training_batches
from attnlab.data.memory import Batches, Images


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize(("count", "size"), [(100, 10), (103, 10), (99, 32), (64, 64), (7, 64)])
def test_every_image_once_an_epoch(world, count, size):
    ranks = [training_batches(count, size, 5, 0, rank, world) for rank in range(world)]
    assert len({len(batches) for batches in ranks}) == 1
    seen = torch.cat([index for batches in ranks for index in batches])
    dropped = count % size if count > size and 0 < count % size < 2 * world else 0
    assert len(seen) == len(seen.unique()) == count - dropped
    tested = [evaluation_batches(count, size, rank, world) for rank in range(world)]
    assert torch.equal(torch.cat([i for b in tested for i in b]).sort().values, torch.arange(count))
    assert len({len(batches) for batches in tested}) == 1


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize(("count", "size", "left"), [(100, 10, 100), (103, 10, 100), (99, 32, 96), (7, 64, 7)])
def test_the_smaller_last_batch_can_be_left_out(world, count, size, left):
    """But not where it is the only one."""
    ranks = [training_batches(count, size, 5, 0, rank, world, drop_last=True) for rank in range(world)]
    seen = torch.cat([index for batches in ranks for index in batches])
    assert len(seen) == len(seen.unique()) == left
    for kept, all_ in zip(ranks[0], training_batches(count, size, 5, 0, 0, world), strict=False):
        assert torch.equal(kept, all_)


def test_ranks_share_the_global_batches():
    """The images of a step do not depend on how many ranks share it."""
    alone = training_batches(100, 10, 5, 3)
    shared = [training_batches(100, 10, 5, 3, rank, 2) for rank in range(2)]
    for step, batch in enumerate(alone):
        assert torch.equal(batch, torch.cat([shared[0][step], shared[1][step]]))


def test_epochs_and_seeds_differ_and_repeat():
    first = training_batches(50, 50, 0, 0)[0]
    assert torch.equal(first, training_batches(50, 50, 0, 0)[0])
    assert not torch.equal(first, training_batches(50, 50, 0, 1)[0])
    assert not torch.equal(first, training_batches(50, 50, 1, 0)[0])


def test_generator_keys_do_not_collide():
    firsts = {int(torch.randint(2**62, (1,), generator=generator(a, b))) for a in range(20) for b in range(20)}
    assert len(firsts) == 400


@pytest.mark.parametrize("images", [0, 10, 37, 90])
def test_the_validation_draw_is_stratified(images):
    labels = torch.tensor([0] * 50 + [1] * 30 + [2] * 20)[torch.randperm(100)]
    rest, drawn = stratified(labels, images, seed=0)
    assert len(drawn) == images
    assert torch.equal(torch.cat([rest, drawn]).sort().values, torch.arange(100))
    for number, share in ((0, 0.5), (1, 0.3), (2, 0.2)):
        assert abs(int((labels[drawn] == number).sum()) - share * images) <= 1


def test_batches_are_their_plan_with_the_draws_of_their_images():
    """Order and draws of an epoch are what they were when a run was interrupted, whichever rank resumes it."""
    images, labels = torch.randint(0, 256, (23, 3, 8, 8), dtype=torch.uint8), torch.arange(23)
    made = Preprocess("channel", {"crop": 2, "flip": True}, images)
    for rank in range(2):
        loader = Batches(
            Images(images, labels),
            lambda epoch, rank=rank: training_batches(23, 10, 5, epoch, rank, 2),
            made,
            epoch=lambda: 3,
            draws=lambda number: torch.rand(23, DRAWS, generator=generator(5, 3, number)),
            passes=2,
        )
        expected = []
        for number in (6, 7):
            draws = torch.rand(23, DRAWS, generator=generator(5, 3, number))
            expected += [(made(images[i], draws[i]), labels[i]) for i in training_batches(23, 10, 5, number, rank, 2)]
        found = list(loader)
        assert len(found) == len(loader) == len(expected)
        for (x, y), (a, b) in zip(found, expected, strict=True):
            assert torch.equal(x, a)
            assert torch.equal(y, b)
    plain = list(Batches(Images(images, labels), lambda epoch: evaluation_batches(23, 10), made))
    assert torch.equal(torch.cat([x for x, _ in plain]), made(images))
