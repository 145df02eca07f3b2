"""Means over seeds, and paired differences with their confidence intervals."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

CONFIDENCE = 0.95
POWER = 0.8

Verdict = Literal["better", "worse", "undecided"]


@dataclass(frozen=True)
class Paired:
    """What was found of one structure's advantage over another.

    Attributes:
        values: Seed -> advantage, positive where the first is better; the seeds that both have.
        mean: The mean of the advantages; None without any.
        low: Lower end of the mean's t interval at `CONFIDENCE`; None with fewer than two seeds.
        high: Its upper end.
        p: The p-value of the two-sided paired t test; None where there is no interval.
    """

    values: Mapping[str, float]
    mean: float | None
    low: float | None
    high: float | None
    p: float | None = None

    @property
    def verdict(self) -> Verdict:
        """Better or worse where the interval leaves out 0; undecided else, and without one."""
        if self.low is None or self.high is None:
            return "undecided"
        if self.low > 0:
            return "better"
        return "worse" if self.high < 0 else "undecided"

    def within(self, margin: float) -> bool | None:
        """Whether the advantage is about 0.

        Args:
            margin: The largest difference that counts as none, in the unit of the values.

        Returns:
            True where the whole interval lies in -margin to margin, False where none of it does,
            None else, and without an interval.
        """
        if self.low is None or self.high is None:
            return None
        if -margin <= self.low and self.high <= margin:
            return True
        return False if self.low > margin or self.high < -margin else None


def mean_sd(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Mean and standard deviation (n - 1); None without values, the latter also with one."""
    if not values:
        return None, None
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None


def paired(
    first: Mapping[str, float], second: Mapping[str, float], better: Literal["lower", "higher"]
) -> Paired:
    """The advantage of one structure over another, seed by seed.

    Args:
        first: Seed -> value.
        second: The same, of the other structure; seeds that only one of them has are left out.
        better: Which values are better.
    """
    sign = 1.0 if better == "higher" else -1.0
    values = {seed: sign * (first[seed] - second[seed]) for seed in first if seed in second}
    mean, sd = mean_sd(list(values.values()))
    if mean is None or sd is None:
        return Paired(values, mean, None, None)
    count = len(values)
    error = sd / math.sqrt(count)
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, count - 1)) * error
    p = 0.0 if error == 0 and mean else 1.0
    if error > 0:
        p = 2 * float(stats.t.sf(abs(mean) / error, count - 1))
    return Paired(values, mean, mean - half, mean + half, p)


def holm(p_values: Sequence[float]) -> list[float]:
    """P values corrected for their number (Holm 1979), in the given order.

    The smallest is multiplied by their number n, the next by n - 1 and so on; none becomes smaller
    than one before it. The probability of any false "different" then stays below the level.
    """
    order = np.argsort(p_values, kind="stable")
    found = [0.0] * len(p_values)
    highest = 0.0
    for place, number in enumerate(order.tolist()):
        highest = max(highest, min(1.0, (len(p_values) - place) * p_values[number]))
        found[number] = highest
    return found


def detectable(sd: float, count: int) -> float | None:
    """The mean difference that this number of seeds finds with a probability of `POWER`.

    Args:
        sd: Of the differences between paired seeds.
        count: Of the seeds; None is returned for fewer than two.

    Returns:
        (t of the two-sided test at `CONFIDENCE` + t of `POWER`) sd / sqrt(count), the usual
        approximation of the paired t test's power.
    """
    if count < 2:
        return None
    quantiles = stats.t.ppf([(1 + CONFIDENCE) / 2, POWER], count - 1)
    return float(quantiles.sum()) * sd / math.sqrt(count)


def seeds_needed(sd: float, half: float) -> int | None:
    """How many seeds give an interval of the mean difference with at most this half width.

    Args:
        sd: Standard deviation of the differences between paired seeds.
        half: Wanted half width at `CONFIDENCE`, in the same unit.

    Returns:
        The least number from 2 to 10,000; None where not even that is enough.
    """
    for count in range(2, 10_001):
        factor = float(stats.t.ppf((1 + CONFIDENCE) / 2, count - 1))
        if factor * sd / math.sqrt(count) <= half:
            return count
    return None
