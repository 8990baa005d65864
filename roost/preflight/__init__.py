"""Checks of a recipe before anything is built."""
