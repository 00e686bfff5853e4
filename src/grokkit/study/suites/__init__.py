"""Suites: sets of tasks, of which settings are chosen on some and the claim is made on the others."""
