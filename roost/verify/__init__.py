"""The independent readers of finished disks: libguestfs, pygrub, e2fsck and other checkers."""
