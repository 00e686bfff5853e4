"""``python -m grokkit``: the ``grokkit`` command."""

from grokkit.answers import main

if __name__ == "__main__":  # worker processes import this module as well
    main()
