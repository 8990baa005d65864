"""Sources of root trees: one module per key of `os:`."""
