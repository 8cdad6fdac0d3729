"""Evaluate a finished run: record its masks, compute its maps, judge them, draw them."""
