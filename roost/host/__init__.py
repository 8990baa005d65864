"""The host layer: subprocesses, namespaces, libguestfs, and what the host can do."""
