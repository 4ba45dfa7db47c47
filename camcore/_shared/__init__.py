"""Helpers that several packages share; none of them is public."""
