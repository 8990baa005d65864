"""Existing images: inspected, overlaid, edited, grown, extracted from."""
