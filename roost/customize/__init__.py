"""Customizing a root tree or an existing image: everything that a recipe adds to it."""
