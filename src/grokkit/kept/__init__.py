"""Where a transform's state lies in an optimizer, and how it is saved with it.

    optimizer.state[p]["grokkit/slow"]          what belongs to a parameter: a tensor that begins with its dimensions
    optimizer.state["grokkit"]["grokkit/seen"]  what all parameters share

What lies there is the truth. Users clear it, replace it, take it to the CPU and back, hand it on to another optimizer,
and cut it along with a parameter. So nothing of it is held here between two steps but weak references, by which a step
knows whether it finds what the last one left. Whatever else it finds it checks, and copies, so that nothing is shared
with others.
"""

from grokkit.kept.saved import Loading, hand_over, unpack
from grokkit.kept.whole import Kept

__all__ = ["Kept", "Loading", "hand_over", "unpack"]
