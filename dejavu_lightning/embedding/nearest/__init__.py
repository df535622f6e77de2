"""Exact nearest neighbours, in one process and across processes."""
