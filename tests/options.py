"""A command's options where a test changes some of the usual ones: the command takes none twice."""


def given_once(*options):
    """``--name value`` pairs, of each name the last value.

    >>> given_once("--seeds", "2", "--jobs", "1", "--seeds", "5")
    ['--seeds', '5', '--jobs', '1']
    """
    last = dict(zip(options[::2], options[1::2], strict=True))
    return [word for pair in last.items() for word in pair]
