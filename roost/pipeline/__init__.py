"""The story of roost: a module per verb, readable from top to bottom."""

# With it a recipe can name every source, whatever loads it.
from roost.sources import registry as registry
