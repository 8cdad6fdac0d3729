"""Hydra's options may stand anywhere on the command line of run."""

import pytest

from attnlab.configuration.options import options_first
from attnlab.errors import ConfigError


@pytest.mark.parametrize(
    ("typed", "first"),
    [
        ("a=1 -m b=2", "-m a=1 b=2"),
        ("a=1 --cfg job b=2", "--cfg job a=1 b=2"),
        ("a=1 -c job -p recipe --resolve b=2", "-c job -p recipe --resolve a=1 b=2"),
        ("a=1 --info b=2", "--info=all a=1 b=2"),
        ("a=1 --info defaults b=2", "--info=defaults a=1 b=2"),
        ("~a +b=2 ++c=3", "~a +b=2 ++c=3"),
        ("-sc install=bash", "-sc install=bash"),
        ("", ""),
    ],
)
def test_options_come_first(typed, first):
    assert options_first(typed.split()) == first.split()


def test_an_unknown_option_is_one_message():
    with pytest.raises(ConfigError, match=r"^unknown option --cgf; did you mean --cfg\? allowed are --cfg, "):
        options_first(["a=1", "--cgf", "job"])
