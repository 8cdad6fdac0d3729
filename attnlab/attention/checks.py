"""Checks of attentions' knobs against the number of channels. Each raises ConfigError for a wrong value."""

from attnlab.errors import ConfigError


def hidden(channels: int, reduction: int, least: int = 1) -> int:
    """The number of hidden units for C channels: C / r, rounded down as in the official codes, but at least `least`.

    Raises ConfigError for r below 1, and, if `least` is 1, for r above C, which would leave no unit.
    """
    if reduction < 1 or (least == 1 and reduction > channels):
        above = f" to {channels}, the channels here" if least == 1 else ""
        raise ConfigError(f"wrong value attention.reduction={reduction}; allowed is an integer from 1{above}")
    return max(channels // reduction, least)


def at_least_1(key: str, value: int) -> int:
    """The value of attention.KEY. Raises ConfigError if it is below 1."""
    if value < 1:
        raise ConfigError(f"wrong value attention.{key}={value}; allowed is an integer from 1")
    return value


def in_groups(channels: int, groups: int | None, at_most: int) -> int:
    """The number of groups of C channels; None = at_most, or fewer, so that a group holds at least 4 channels.

    Raises ConfigError for a number that does not divide C.
    """
    if groups is None:
        groups = max(1, min(at_most, channels // 4))
        while channels % groups:
            groups -= 1
    if groups < 1 or channels % groups:
        raise ConfigError(f"attention.groups={groups}: must divide {channels} channels")
    return groups


def odd(kernel_size: int) -> int:
    """The kernel size, in pixels. Raises ConfigError for an even one, which has no middle pixel."""
    if kernel_size < 1 or kernel_size % 2 == 0:
        raise ConfigError(f"wrong value attention.kernel_size={kernel_size}; allowed are odd numbers from 1")
    return kernel_size
