"""The submit language: logical lines, macros, expressions, queue statements."""
