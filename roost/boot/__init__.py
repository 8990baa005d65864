"""The test boot: accelerator probe, QEMU machine, QMP session, verdict."""
