"""Images that exist: inspected, overlaid, edited, grown, extracted from."""
