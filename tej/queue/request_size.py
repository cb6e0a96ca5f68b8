"""Maximum size of a request: number of jobs, and number of uploaded bytes."""

JOBS_PER_REQUEST = 100
"""Number of jobs of a batch that are prepared and submitted in one request, or whose
results are fetched in one request."""
BATCH_JOBS = 200
BATCH_BYTES = 256 * 1024 * 1024
"""One upload contains at most BATCH_JOBS jobs and BATCH_BYTES bytes; a job with more
bytes is uploaded alone."""
