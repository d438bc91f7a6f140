"""How a result archive is built: segments, the container that joins them, and the files in it.

Every results format uses these. They know nothing of batches, chunks or the database.
"""
