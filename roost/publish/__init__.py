"""Publication: only what passed its test boot, signed, immutable, and easy to take."""
