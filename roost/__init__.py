"""roost: disk images for HTCondor's vm universe, from a recipe to a published, test-booted image."""

__version__ = "0.1.0"
