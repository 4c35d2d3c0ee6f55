"""Holding the number of latents that fire at a target, by the weight of a sparsity penalty."""

import math

import numpy as np

INTEGRAL = 40.0  # by how much the logarithm would change over a whole training with e = 1


WIDEST, HIGHEST = 0.5, 5.0


MEMORY = 3


class SparsityController:
    """A proportional-integral controller of a penalty's coefficient: base * (1 + proportional * (L0 / target - 1)).

    The proportional part is the derivative of a quadratic penalty on L0 / target - 1 (as the JumpReLU paper has for
    training to a target): it pushes up, with a negative coefficient, what has become too sparse. The base takes away
    what that leaves: its logarithm grows by e = log(L0 / target), or shrinks by it while the coefficient is negative.
    That e counts as at most WIDEST either way, so that the base does not run away while L0 is far, and L0 / target
    as at most HIGHEST.

    Time counts in learning rates, because that is how fast weights, and so L0, follow: the base waits during warm-up
    and comes to rest as the rate falls to 0. It needs some hundreds of steps: ReLU came within 3 % of its target in all
    trainings of 781 steps and more that were measured, but ended 5 to 8 % below it after 384.

    `memory` (MEMORY,) float64 is all its state: whether it has begun, the base's logarithm, the last L0 / target.
    """

    def __init__(self, memory: np.ndarray, target: float, proportional: float, learning_time: float) -> None:
        """`learning_time` is the sum of the learning rates of all steps, about."""
        self.memory, self.target, self.proportional = memory, target, proportional
        self.gain = INTEGRAL / learning_time

    def coefficient(self, start: float) -> float:
        """The coefficient in force; `start` is the base at the first step."""
        if not self.memory[0]:
            self.memory[:] = 1, math.log(start), 1
        return math.exp(self.memory[1]) * self._share()

    def update(self, l0: float, rate: float) -> None:
        """Note a step's L0 and the learning rate that it was taken with."""
        ratio = l0 / self.target
        error = math.log(ratio) if ratio > 0 else -WIDEST
        sign = 1 if self._share() > 0 else -1
        self.memory[1] += sign * self.gain * rate * max(-WIDEST, min(WIDEST, error))
        self.memory[2] = min(ratio, HIGHEST)

    def _share(self) -> float:
        """The coefficient in force over its base."""
        return 1 + self.proportional * (self.memory[2] - 1)
