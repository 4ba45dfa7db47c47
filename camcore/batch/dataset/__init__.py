"""Explain or evaluate data sets that are larger than memory, here or on a cluster."""
