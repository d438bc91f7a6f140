"""Batchway: a Batch endpoint that you run yourself.

A client POSTs thousands of API calls in one request; they run in the background, and the client
downloads one archive of the results.
"""

__version__ = "0.1.0"
