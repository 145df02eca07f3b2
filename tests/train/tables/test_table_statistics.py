"""Means, paired differences, intervals and verdicts."""

import numpy as np
import pytest
from scipy import stats

from train.tables.paper import paper_value
from train.tables.statistics import holm, mean_sd, paired, seeds_needed


def by_seed(values, first=1):
    return {str(seed): value for seed, value in enumerate(values, start=first)}


@pytest.mark.parametrize(("better", "sign"), [("higher", 1), ("lower", -1)])
def test_the_interval_is_that_of_the_paired_t_test(better, sign):
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 7))
    found = paired(by_seed(first), by_seed(second), better)
    interval = stats.ttest_rel(sign * first, sign * second).confidence_interval(0.95)
    np.testing.assert_allclose([found.low, found.high], interval, rtol=1e-12)
    assert found.mean == pytest.approx(sign * (first - second).mean())


def test_the_verdict_follows_the_interval_and_the_metric():
    high, low = by_seed([3.0, 3.1, 3.2]), by_seed([1.0, 1.2, 1.1])
    assert paired(high, low, "higher").verdict == "better"
    assert paired(low, high, "higher").verdict == "worse"
    assert paired(low, high, "lower").verdict == "better"
    assert paired(high, by_seed([3.1, 3.0, 3.3]), "higher").verdict == "undecided"


def test_pairing_takes_out_what_the_seeds_have_in_common():
    data = np.array([0.0, 5.0, 10.0, 15.0])  # far more than the difference between the two
    first, second = data + np.array([1.0, 1.1, 0.9, 1.0]), data
    assert paired(by_seed(first), by_seed(second), "higher").verdict == "better"
    assert stats.ttest_ind(first, second).pvalue > 0.5


def test_only_seeds_that_both_have():
    found = paired({"1": 1.0, "2": 2.0, "9": 50.0}, {"2": 1.0, "1": 0.5, "3": -50.0}, "higher")
    assert found.values == {"1": 0.5, "2": 1.0}


def test_one_seed_has_a_difference_and_decides_nothing():
    found = paired({"1": 3.0}, {"1": 1.0}, "higher")
    assert (found.mean, found.low, found.high, found.verdict) == (2.0, None, None, "undecided")
    assert found.within(10.0) is None


def test_no_seed_in_common():
    found = paired({"1": 3.0}, {"2": 1.0}, "higher")
    assert (found.values, found.mean, found.low) == ({}, None, None)
    assert found.verdict == "undecided"


def test_about_equal():
    found = paired(by_seed([1.0, 1.1, 0.9, 1.0]), by_seed([0.0] * 4), "higher")
    assert (found.low, found.high) == pytest.approx((0.870, 1.130), abs=1e-3)
    assert found.within(1.2) is True
    assert found.within(1.0) is None
    assert found.within(0.8) is False
    assert paired(by_seed([0.0] * 4), by_seed([1.0, 1.1, 0.9, 1.0]), "higher").within(0.8) is False


def test_mean_and_standard_deviation():
    assert mean_sd([1.0, 2.0, 6.0]) == pytest.approx((3.0, np.sqrt(7.0)))
    assert mean_sd([1.0]) == (1.0, None)
    assert mean_sd([]) == (None, None)


def test_the_papers_figures():
    assert paper_value(1, "vrnn", "hidden1") == 0.1414
    assert paper_value(1, "gru", "matched") == 0.1291
    assert paper_value(1, "lstm", "pre-fc6-fc7") == 0.0951
    assert paper_value(2, "lstm", "pre-fc6-fc7-extra1") == 0.1454
    assert paper_value(3, "gru", "sih-random") == 0.918
    for row in ("vrnn", "lstm", "gru"):  # the one column that two of the paper's tables share
        assert paper_value(1, row, "pre-fc6-fc7") == paper_value(2, row, "pre-fc6-fc7")


@pytest.mark.parametrize(
    ("table", "row", "column"),
    [(3, "vrnn", "sih"), (1, "gru-plain", "pre-fc6-fc7"), (2, "gru", "matched"),
     (1, "control", "feedforward"), (1, "lstm", "matched-fc6")],
)  # fmt: skip
def test_places_without_a_figure_of_the_paper(table, row, column):
    assert paper_value(table, row, column) is None


def test_holms_correction_is_the_textbooks():
    """Worked by hand: 4 x 0.01, 3 x 0.02, then 2 x 0.03 = 0.06 stays, and 0.04 is not below it."""
    np.testing.assert_allclose(holm([0.04, 0.01, 0.03, 0.02]), [0.06, 0.04, 0.06, 0.06])
    np.testing.assert_allclose(holm([0.5, 0.9]), [1.0, 1.0])
    assert holm([]) == []


def test_p_is_that_of_the_paired_t_test():
    rng = np.random.default_rng(1)
    first, second = rng.normal(size=(2, 6))
    found = paired(by_seed(first), by_seed(second), "higher")
    assert found.p == pytest.approx(stats.ttest_rel(first, second).pvalue)
    same = paired({"1": 1.0, "2": 2.0}, {"1": 1.0, "2": 2.0}, "higher")
    assert (same.mean, same.p) == (0.0, 1.0)


def test_the_seeds_needed_give_the_wanted_interval():
    count = seeds_needed(sd=3.0, half=2.0)
    assert count is not None
    for seeds, enough in ((count, True), (count - 1, False)):
        half = stats.t.ppf(0.975, seeds - 1) * 3.0 / np.sqrt(seeds)
        assert (half <= 2.0) == enough
    assert seeds_needed(sd=1e4, half=1.0) is None
