"""`inv gc`: what goes out of the cache, out of build/, out of a catalogue; first said, then done."""
