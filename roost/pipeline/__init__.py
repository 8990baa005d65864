"""The story of roost: a module per verb, readable from top to bottom."""
