"""Probes: what a run's model and gradients look like, measured at every full evaluation."""
