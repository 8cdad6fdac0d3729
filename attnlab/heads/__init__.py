"""Heads: named features -> logits (B, classes). One file a head."""
