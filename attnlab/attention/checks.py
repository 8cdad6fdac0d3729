"""What knobs of attentions may be, given the channels they meet; every refusal is a ConfigError."""

from attnlab.errors import ConfigError


def hidden(channels: int, reduction: int, least: int = 1) -> int:
    """How many hidden units C channels get: C / r, rounded down as the official codes do, and `least` or more.

    Raises ConfigError for r below 1; and for r above C, which leaves no unit, where no module says a `least` above 1.
    """
    if reduction < 1 or (least == 1 and reduction > channels):
        above = f" to {channels}, the channels here" if least == 1 else ""
        raise ConfigError(f"attention.reduction={reduction}: allowed is an integer from 1{above}")
    return max(channels // reduction, least)


def at_least_1(key: str, value: int) -> int:
    """The value of attention.KEY. Raises ConfigError below 1."""
    if value < 1:
        raise ConfigError(f"attention.{key}={value}: allowed is an integer from 1")
    return value


def in_groups(channels: int, groups: int | None, at_most: int) -> int:
    """How many groups to cut C channels into; None = at_most, fewer where a group would hold under 4 channels.

    Raises ConfigError for a number that must divide C.
    """
    if groups is None:
        groups = max(1, min(at_most, channels // 4))
        while channels % groups:
            groups -= 1
    if groups < 1 or channels % groups:
        raise ConfigError(f"attention.groups={groups}: must divide {channels} channels")
    return groups


def odd(kernel_size: int) -> int:
    """The kernel size, in pixels. Raises ConfigError for an even one, which has no middle."""
    if kernel_size < 1 or kernel_size % 2 == 0:
        raise ConfigError(f"attention.kernel_size={kernel_size}: allowed are odd numbers from 1")
    return kernel_size
