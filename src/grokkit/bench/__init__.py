"""The command ``grokkit bench``: the plain form and ours in turns, and how many times as long ours takes.

``plain`` holds the plain forms; ``steps``, ``methods``, ``runs`` and ``gpu`` declare rows, each beside its function.
"""
