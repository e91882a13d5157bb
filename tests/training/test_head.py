import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression
from sklearn.utils.class_weight import compute_sample_weight

from training import calibration
from training.head import class_weights, fit_head, negative_log_likelihood


@pytest.fixture
def clouds(random):
    targets = np.repeat([0, 1, 2], [60, 30, 10])
    return (random.normal(size=(100, 5)) + np.eye(3, 5)[targets] * 2).astype(np.float32), targets


def test_class_weights_are_sklearns(clouds):
    np.testing.assert_allclose(class_weights(clouds[1], 3), compute_sample_weight("balanced", clouds[1]))


def test_head_is_weighted_logistic_regression_where_it_starts_from_nothing(clouds):
    features, targets = clouds
    strength = 0.01
    weights = class_weights(targets, 3) / 100
    kernel, bias = fit_head(features, targets, np.arange(3), np.zeros((5, 3)), np.zeros(3), strength, weights)
    # sklearn leaves its own intercept unpenalised: give it ours as a channel
    extended = np.concatenate([features, np.ones((100, 1))], axis=1)
    oracle = LogisticRegression(C=1 / (strength * 100), fit_intercept=False, class_weight="balanced", tol=1e-8)
    oracle.fit(extended, targets)
    np.testing.assert_allclose(np.concatenate([kernel, bias[None]]).T, oracle.coef_, atol=2e-3)


def test_no_instrument_stays_as_it_was_and_its_samples_push_the_instruments_away(clouds, random):
    kernel, bias = random.normal(size=(5, 5)).astype(np.float32), random.normal(size=5).astype(np.float32)
    class_labels = np.array([-1, 0, 1, 2, -1])
    features, targets = clouds[0], np.where(clouds[1] == 2, -1, clouds[1])
    fitted_kernel, fitted_bias = fit_head(features, targets, class_labels, kernel, bias, 0.01, np.full(100, 0.01))
    np.testing.assert_array_equal(fitted_kernel[:, [0, 4]], kernel[:, [0, 4]])
    np.testing.assert_array_equal(fitted_bias[[0, 4]], bias[[0, 4]])
    before, after = (
        negative_log_likelihood(features @ k + b, targets, class_labels).mean()
        for k, b in ((kernel, bias), (fitted_kernel, fitted_bias))
    )
    assert after < before / 2


def test_what_all_classes_have_in_common_is_the_best_there_is(clouds, random):
    """Against the loss of plain loops, of which the common part is worked out: its best value has a closed form."""
    features, targets = clouds[0][::4], np.where(clouds[1] == 2, -1, clouds[1])[::4]
    start = random.normal(size=(6, 3))
    strength, shared, weights = 0.05, 0.02, np.full(25, 1 / 25)
    fitted = fit_head(features, targets, np.array([-1, 0, 1]), start[:5], start[5], strength, weights, shared)

    def loss(flat):
        offsets = flat.reshape(6, 2)
        total = 0.0
        for sample, target in zip(features, targets, strict=True):
            logits = [
                np.append(sample, 1) @ (start[:, 0] if c == 0 else start[:, c] + offsets[:, c - 1]) for c in range(3)
            ]
            total += (np.log(np.exp(logits).sum()) - logits[target + 1]) / 25
        own, common = (offsets**2).sum(), (offsets.sum(axis=1) ** 2).sum()
        return total + strength / 2 * (own - common * strength / (shared + 2 * strength))

    oracle = minimize(loss, np.zeros(12), options={"gtol": 1e-6}).x.reshape(6, 2)
    moved = np.concatenate([fitted[0], fitted[1][None]])[:, 1:] - start[:, 1:]
    np.testing.assert_allclose(moved, oracle, atol=2e-3)


def test_likelihood_of_a_label_is_the_sum_over_its_classes():
    logits = np.log([[0.2, 0.3, 0.5]])
    assert negative_log_likelihood(logits, np.array([0]), np.array([0, 0, -1]))[0] == pytest.approx(-np.log(0.5))
    assert negative_log_likelihood(logits, np.array([-1]), np.array([0, 0, -1]))[0] == pytest.approx(-np.log(0.5))


@pytest.mark.parametrize("scale", [3, 1 / 3])
def test_temperature_undoes_a_scaling(random, scale):
    logits = random.normal(size=(4000, 3)) * 2
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    targets = (shares.cumsum(axis=1) < random.random((4000, 1))).sum(axis=1)
    assert calibration.fit_temperature(logits * scale, targets, np.arange(3)) == pytest.approx(scale, rel=0.1)


def test_calibration_error_by_hand():
    # bins of a tenth: 0.95 (right), 0.95 (wrong) and 0.55 (right)
    error = calibration.expected_calibration_error(np.array([0.95, 0.95, 0.55]), np.array([True, False, True]), 10)
    assert error == pytest.approx((abs(1.9 - 1) + abs(0.55 - 1)) / 3)
