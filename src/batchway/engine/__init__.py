"""DBOS behind one door: hand-overs, lanes, workers, take-over.

The engine decides which step runs when and in which process. It is not the place of truth: the
store is. Nothing else imports DBOS.
"""
