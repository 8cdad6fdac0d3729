"""Metrics of attention, as pure functions: is a map on the object, is it faithful, is the network robust?"""
