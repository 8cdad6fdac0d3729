"""Backbones: images (B, 3, H, W) -> named features {name: (B, C, h, w)}, shallow to deep. One file per family.

Every backbone has `channels`, {feature name: C} in the same order, and takes `slot` (slots.py), which it calls with
place, channels, `stage` and `downsampling`. Each offers the place `branch`, the default of most attentions.
Two classes are called ResNet: resnet_cifar.ResNet has depth 6n + 2 and 16, 32, 64 channels (resnet20, resnet50_cifar);
resnet.ResNet has ImageNet's blocks and widths behind a CIFAR stem (resnet18_stem3, resnet50_stem3).
"""
