"""Batchway: the Batch endpoint as software one can run.

A client POSTs thousands of API calls in one request; they run in the background, durably; the
client polls the status and downloads one archive of results.
"""

__version__ = "0.1.0"
