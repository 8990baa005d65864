"""Runs: many jobs from their io disks to a table of verdicts; who runs them is an executor."""
