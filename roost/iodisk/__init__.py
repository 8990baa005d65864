"""The job's own disk: made from its inputs before the job, examined for status and results after it."""
