"""Layers of a model: their names, which to look at, and how their arrays are laid out."""
