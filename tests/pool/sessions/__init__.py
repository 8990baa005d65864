"""What root does on the access point of a pool while a user runs jobs there: programs of the pool's own Python."""
