"""Backbones: images (B, 3, H, W) -> named features {name: (B, C, h, w)}, shallow to deep. One file a family.

Every backbone has `channels`, {feature name: C} in the same order, and takes `slot`, the places for attention.
"""
