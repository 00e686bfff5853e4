"""What the public scripts do, written straightforwardly in PyTorch: the other side of every benchmark.

Nothing here imports anything of ours.
"""
