"""The kinds of storage that can hold a catalogue."""
