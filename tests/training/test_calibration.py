import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from training.calibration import bin_of, expected_calibration_error, fit_box_score, threshold_expected, threshold_for


def test_the_score_is_that_of_a_logistic_regression():
    random = np.random.default_rng(0)
    witnesses = random.normal(0, 2, (4000, 2))
    right = random.random(4000) < expit(witnesses @ [1.5, 0.5] - 1)
    oracle = LogisticRegression(C=1 / (1e-3 * 4000), tol=1e-8).fit(witnesses, right)
    found = fit_box_score(witnesses, right)
    np.testing.assert_allclose(found, [*oracle.coef_[0], oracle.intercept_[0]], atol=2e-3)


def test_no_witness_counts_against_an_instrument():
    random = np.random.default_rng(0)
    witnesses = random.normal(0, 2, (1000, 2))
    right = random.random(1000) < expit(witnesses @ [1.0, -1.0])
    assert fit_box_score(witnesses, right)[1] == 0


@pytest.mark.parametrize(
    ("right", "precision", "threshold"),
    [([1, 1, 0, 0], 0.5, 0.2), ([1, 0, 1, 0], 0.9, 0.9), ([0, 0, 0, 0], 0.5, 1.0), ([0, 1, 1, 1], 0.7, 0.2)],
)
def test_threshold_by_hand(right, precision, threshold):
    assert threshold_for(np.array([0.9, 0.7, 0.5, 0.2]), np.array(right, bool), precision) == threshold


@given(
    arrays(np.int8, st.integers(0, 30), elements=st.integers(0, 10)),
    st.integers(0, 1000),
    st.floats(0.05, 1),
)
def test_the_threshold_keeps_the_promised_precision_and_is_the_lowest(scores, seed, precision):
    scores = scores / 10
    right = np.random.default_rng(seed).random(len(scores)) < 0.5
    found = threshold_for(scores, right, precision)
    possible = [value for value in np.unique(scores) if right[scores >= value].mean() >= precision]
    assert found == (min(possible) if possible else 1.0)


def test_an_expected_precision_by_hand():
    # means of the best one, two, three: 0.9, 0.7, 0.5
    scores = np.array([0.1, 0.9, 0.5])
    assert threshold_expected(scores, 0.7) == 0.5
    assert threshold_expected(scores, 0.5) == 0.1
    assert threshold_expected(scores, 0.95) == 0.9
    # of equal scores all are shown: the mean of all three is 0.7
    assert threshold_expected(np.array([0.6, 0.9, 0.6]), 0.72) == 0.9


def test_a_confidence_on_a_border_is_in_the_lower_bin():
    assert bin_of(np.array([0.0, 0.1, 0.2, 0.21, 0.4, 1.0]), 5).tolist() == [0, 0, 0, 1, 1, 4]
    # 0.2 and 0.1 share a bin: their mean is 0.15, one of two is right
    assert expected_calibration_error(np.array([0.2, 0.1]), np.array([True, False]), 5) == pytest.approx(0.35)
