"""Where runs can be watched while they train: a file for each logger, found by its name, ``--log NAME``."""
