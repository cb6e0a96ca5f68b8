"""Maximum size of a request: number of jobs, and number of uploaded bytes."""

JOBS_PER_REQUEST = 100
"""Maximum number of jobs of a `Batch` that one request submits, or whose results one
request fetches."""
BATCH_JOBS = 200
BATCH_BYTES = 256 * 1024 * 1024
"""One upload contains at most BATCH_JOBS jobs and BATCH_BYTES bytes; a job with more
bytes is uploaded alone."""
