"""The host: one door to subprocesses, one to namespaces, one to libguestfs, and what the host can do."""
