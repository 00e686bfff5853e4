"""Studies: what to run, the worker processes that run it, and what is kept on disk."""
