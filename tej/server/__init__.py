"""Scripts that run on the server; `scripts.py` reads them for upload."""
