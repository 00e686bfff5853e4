"""What the public scripts do, written straightforwardly in PyTorch: the other side of every benchmark.

Nothing here is part of the product, and nothing here imports it.
"""
