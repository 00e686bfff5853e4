"""What is measured in training."""
