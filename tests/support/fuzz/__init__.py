"""Damaged files and odd arrays, and what camcore makes of them."""
