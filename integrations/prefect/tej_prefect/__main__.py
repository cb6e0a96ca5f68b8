"""`python -m tej_prefect` serves the resumer: it looks every minute for ended jobs."""

from tej_prefect.resumer import tej_resumer

INTERVAL = 60
"""Seconds between two looks."""

if __name__ == "__main__":
    tej_resumer.serve(name="tej-resumer", interval=INTERVAL)
