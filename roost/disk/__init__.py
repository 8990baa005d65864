"""Disks: layout, file systems, boot loader, image formats, and the read-back by libguestfs."""
