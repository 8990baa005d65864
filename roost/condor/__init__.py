"""HTCondor's vm universe: the vm_disk grammar, submit descriptions, lint, virtual hardware, hold reasons."""
