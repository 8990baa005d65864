"""Recipes: the model, merging, and the loader that reports every mistake with line and column."""
