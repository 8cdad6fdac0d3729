"""Judges of attention: is a map on the object, does the prediction hang on it, is the model robust. Pure functions."""
