"""The pages of docs/reference, made from the code: `python -m docs.generate` writes them, a test holds them equal."""
