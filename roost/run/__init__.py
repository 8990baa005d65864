"""Runs: many jobs, from their io disks to a table of verdicts, executed by this machine, a pool or DAGMan."""
