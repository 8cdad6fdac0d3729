"""Attention: x -> [score] -> z -> [mask] -> m -> [apply] -> y. One file per score; conf/attention/ names them."""

from attnlab.attention.gate import Gate

__all__ = ["Gate"]
