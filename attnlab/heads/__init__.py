"""Heads: named features -> logits (B, classes). One file per head."""
