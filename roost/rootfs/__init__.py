"""Root trees: one module per source, and customising."""
