"""Intervals of many estimates that hold together."""
