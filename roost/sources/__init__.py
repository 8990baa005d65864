"""Where root trees come from: one module per key of `os:`."""
