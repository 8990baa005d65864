"""Disks: layout, file systems, boot loader, image formats."""
