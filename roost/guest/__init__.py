"""What runs inside the images: the job runner, its systemd unit, and the start of a busybox guest. POSIX shell."""
