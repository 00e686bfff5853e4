"""The gradient filters as they are usually written: one parameter at a time, a deque summed at every step."""

from collections import deque


class PlainEma:
    """g' = g + λ·slow, slow an exponential moving average of the gradients."""

    def __init__(self, model, alpha=0.98, lamb=2.0):
        self.model, self.alpha, self.lamb = model, alpha, lamb
        self.slow = {}

    def __call__(self):
        for name, p in self.model.named_parameters():
            self.slow[name] = self.slow.get(name, p.grad.detach()) * self.alpha + p.grad.detach() * (1 - self.alpha)
            p.grad = p.grad + self.lamb * self.slow[name]


class PlainMa:
    """g' = g + λ·mean of the last w gradients, once there are w of them."""

    def __init__(self, model, window_size=100, lamb=5.0):
        self.model, self.window_size, self.lamb = model, window_size, lamb
        self.windows = {name: deque(maxlen=window_size) for name, _ in model.named_parameters()}

    def __call__(self):
        for name, p in self.model.named_parameters():
            window = self.windows[name]
            window.append(p.grad.detach().clone())
            if len(window) == self.window_size:
                p.grad = p.grad + self.lamb * sum(window) / self.window_size
