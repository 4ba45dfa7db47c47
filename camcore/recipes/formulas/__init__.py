"""Formulas that several libraries use in place of the papers'.

One that a single library uses stands beside that library's recipe.
"""
