"""What knobs of attentions may be, given the channels they meet; every refusal is a ConfigError."""

from attnlab.errors import ConfigError


def hidden(channels: int, reduction: int, least: int = 1) -> int:
    """C / r, or `least` where that is more.

    Raises ConfigError unless r divides C: rounding would make it another module than the name says.
    """
    if least > 1 and reduction >= 1 and channels / reduction <= least:
        return least
    if reduction < 1 or channels % reduction:
        divisors = ", ".join(str(r) for r in range(1, channels + 1) if channels % r == 0)
        raise ConfigError(f"attention.reduction={reduction}: must divide {channels} channels; allowed are {divisors}")
    return channels // reduction


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
