"""The lab from Python: the same question, the same runs, the same report as ``grokkit compare``."""
