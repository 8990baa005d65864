"""What a recipe's own files show before anything is built: programs, paths, file systems, devices, suites."""
