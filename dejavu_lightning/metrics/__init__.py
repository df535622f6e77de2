"""Memorization metrics."""
