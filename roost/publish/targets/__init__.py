"""The kinds of places that a catalogue can be at."""
