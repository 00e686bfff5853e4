"""A method of somebody's own as a file has it, for tests that write it and change it."""

CARD = """
from grokkit import MethodCard
def smooth(share: float = 0.1):
    def of(base):
        return lambda outputs, targets: base(outputs, targets) + share * outputs.square().mean()
    return of
SMOOTH = MethodCard(name="smooth", loss=smooth, off={"share": 0.0})
"""
