"""The trainer: a run's configuration, its loop, its record."""
