"""``grokkit reproduce``: every published figure and table, ours beside theirs."""
