"""Recipes: the model, the loader that reports every mistake with line and column, and merging."""
