"""Backbones: images (B, 3, H, W) -> named features {name: (B, C, h, w)}, shallow to deep. One file a family.

Every backbone has `channels`, {feature name: C} in the same order, and takes `slot`, the places for attention, which it
calls with place, channels, `stage` and `downsampling`. `branch`, most attentions' default, is somewhere in each.
"""
