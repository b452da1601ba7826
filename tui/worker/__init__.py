"""The detached process that works the job queue."""
