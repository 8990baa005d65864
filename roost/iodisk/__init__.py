"""The job's own disk: made from its inputs before the job, read for status and results after it."""
