"""Publication of images that passed their test boot: signed, immutable, and easy to use."""
