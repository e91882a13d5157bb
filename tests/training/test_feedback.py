"""Windows that the label head learns from, by their definition; and that learning does what it says."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from PIL import Image

from annotator.detection import Detections, windows
from annotator.detection.boxes import intersection_over_union
from annotator.models.backbones import STRIDE
from annotator.models.bundle import Label
from training import adapt, feedback
from training.datasets import Picture, Region
from training.head import negative_log_likelihood

LUTE, HARP = Label("Lute", 3394), Label("Harp", 3285)
CLASS_LABELS = np.array([-1, 0, 1])
HEAD = (np.eye(4, 3, dtype=np.float32), np.zeros(3, np.float32))


def seen(random, rows=9, columns=12):
    """A picture of two levels, the larger one twice the smaller."""
    levels = [
        windows.Level(random.normal(size=(r, c, 4)).astype(np.float32), c * STRIDE, r * STRIDE)
        for r, c in ((rows, columns), ((rows + 1) // 2, (columns + 1) // 2))
    ]
    return feedback.Seen(levels, columns * STRIDE, rows * STRIDE)


def examples(random, picture):
    own = seen(random)
    scored = windows.score_windows(own.said(*HEAD), CLASS_LABELS)
    return feedback.examples_of(own, picture, 7, {LUTE: 0, HARP: 1}, scored)


def test_a_region_gives_the_windows_that_fit_it_with_its_weight(random, tmp_path):
    region = Region(HARP, (32.0, 32.0, 192.0, 192.0), weight=4.0)
    state = np.random.default_rng(3)
    picture = Picture(tmp_path / "a.png", "a", (region,), complete=False)
    found = examples(state, picture)
    assert (found.targets == 1).all()
    assert (found.pictures == 7).all()
    assert found.weights.sum() == pytest.approx(4)
    assert 1 <= len(found.targets) <= feedback.MOST_FITTING

    # The slow way: every window of both levels, the mean of its cells one by one.
    levels = seen(np.random.default_rng(3)).levels
    fitting = []
    for level in levels:
        scale = 384 / level.width
        for x0, y0, x1, y1 in windows.window_cells(*level.logits.shape[:2]):
            box = np.array([x0, y0, x1, y1]) * STRIDE * scale
            overlap = intersection_over_union(np.minimum(box, [384, 288, 384, 288]), np.array(region.box))
            fitting.append((overlap, level.logits[y0:y1, x0:x1].reshape(-1, 4).mean(axis=0)))
    best = sorted((pair for pair in fitting if pair[0] >= feedback.FITTING), key=lambda pair: -pair[0])
    wanted = np.array([mean for _, mean in best[: feedback.MOST_FITTING]])
    np.testing.assert_allclose(np.sort(found.features, axis=0), np.sort(wanted, axis=0), atol=1e-5)


def test_nothing_is_learnt_from_where_nobody_looked(random, tmp_path):
    untouched = Picture(tmp_path / "a.png", "a", (), complete=False)
    assert len(examples(random, untouched).targets) == 0
    looked_through = Picture(tmp_path / "a.png", "a", ())
    found = examples(random, looked_through)
    assert (found.targets == -1).all()
    assert feedback.EASY < len(found.targets) <= feedback.HARD + feedback.EASY


def test_a_rejected_detection_shows_nothing_and_a_difficult_region_counts_for_neither(random, tmp_path):
    box = (32.0, 32.0, 192.0, 192.0)
    rejected = Picture(tmp_path / "a.png", "a", (), complete=False, rejected=(box,))
    found = examples(random, rejected)
    assert (found.targets == -1).all()
    assert found.weights.sum() == pytest.approx(feedback.REJECTED)
    both = Picture(tmp_path / "a.png", "a", (Region(HARP, box),), complete=False, rejected=(box,))
    assert (examples(random, both).targets == 1).all()  # what was drawn at its place is no background
    whole = Picture(tmp_path / "a.png", "a", (Region(LUTE, (0.0, 0.0, 384.0, 288.0), difficult=True),))
    assert len(examples(random, whole).targets) == 0


@pytest.mark.parametrize(("complete", "scores"), [(True, [0.9, 0.8]), (False, [0.9])])
def test_where_nobody_looked_a_detection_is_not_wrong(complete, scores, tmp_path):
    boxes = np.array([[0, 0, 50, 50], [200, 200, 260, 260]], float)
    located = Detections(boxes, np.zeros(2, int), np.array([0.9, 0.8]))
    picture = Picture(tmp_path / "a.png", "a", (Region(HARP, (0.0, 0.0, 50.0, 50.0)),), complete=complete)
    found, right = feedback._judged(located, picture)
    assert found.tolist() == scores
    assert right.tolist() == [score == 0.9 for score in scores]


@hypothesis.given(
    st.lists(st.tuples(st.integers(-1, 3), st.floats(0.1, 9)), min_size=1, max_size=30),
)
def test_balanced_weights_share_the_loss_evenly(pairs):
    targets = np.array([target for target, _ in pairs])
    weights = np.array([weight for _, weight in pairs])
    own = feedback.balanced(feedback.Examples(np.zeros((len(pairs), 1)), targets, weights, targets))
    assert own.sum() == pytest.approx(1)
    shares = [own[targets == label].sum() for label in np.unique(targets[targets >= 0])]
    if shares:
        np.testing.assert_allclose(shares, shares[0])
    if shares and (targets == -1).any():
        assert own[targets == -1].sum() == pytest.approx(feedback.NOTHING)
    for label in np.unique(targets):
        np.testing.assert_allclose(
            own[targets == label] / own[targets == label].sum(),
            weights[targets == label] / weights[targets == label].sum(),
        )


def test_folds_keep_groups_together_and_spread_labels():
    pictures = [Picture(None, f"g{n // 2}", (Region(LUTE if n < 12 else HARP, (0, 0, 9, 9)),)) for n in range(24)]
    folds = feedback.folds_of(pictures)
    assert (folds[0::2] == folds[1::2]).all()
    for part in (folds[:12], folds[12:]):
        np.testing.assert_array_equal(np.bincount(part), [4, 4, 4])


def test_the_penalty_is_chosen_on_pictures_that_are_no_copies(random, capsys):
    """Against the definition: of each fold's pictures left out only the originals count."""
    pictures, originals = np.repeat(np.arange(12), 6), 6
    folds = np.tile(np.arange(3), 4)
    own = feedback.Examples(
        random.normal(size=(72, 4)).astype(np.float32),
        random.integers(-1, 2, 72),
        random.uniform(1, 2, 72),
        pictures,
    )
    chosen = feedback._best_strength(own, folds, originals, CLASS_LABELS, *HEAD)
    weights = feedback.balanced(own)
    losses = []
    for strength in feedback.STRENGTHS:
        loss = 0.0
        for fold in range(3):
            kernel, bias = feedback.fit(own[folds[pictures] != fold], CLASS_LABELS, *HEAD, strength)
            for i in np.flatnonzero((folds[pictures] == fold) & (pictures < originals)):
                likelihood = negative_log_likelihood(own.features[[i]] @ kernel + bias, own.targets[[i]], CLASS_LABELS)
                loss += weights[i] * likelihood[0]
        losses.append(loss)
    assert chosen == feedback.STRENGTHS[int(np.argmin(losses))]
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("head: penalty ")]
    printed = [float(line.rsplit(" ", 1)[1]) for line in lines]
    np.testing.assert_allclose(printed, losses, atol=1e-4)


@pytest.fixture
def one_known_one_new(random):
    """Label 0 is known to a head and has no example; label 1 shares a channel with it and has some."""
    kernel = np.zeros((8, 4), np.float32)
    kernel[[0, 1], 1] = 2
    class_labels = np.array([-1, 0, 1, -1])
    targets = np.repeat([1, -1], [30, 70])
    features = random.uniform(0, 1, (100, 8)).astype(np.float32)
    features[:30, 1:3] += [3, 0.3]
    own = feedback.Examples(features, targets, np.ones(100), np.arange(100))
    return own, class_labels, kernel, np.array([0, -4, -4, 0], np.float32)


def test_what_is_remembered_is_a_window_of_nothing_moved_to_where_its_label_is_likely(one_known_one_new):
    """Against the plain way, window by window."""
    own, _, kernel, bias = one_known_one_new
    features, labels = feedback.remembered(*one_known_one_new)
    assert labels.tolist() == [0] * feedback.REMEMBERED_EACH
    assert features.dtype == np.float32
    nothing = own.features[30:]
    starts = nothing[np.random.default_rng(feedback.SEED).integers(len(nothing), size=len(labels))]
    way = kernel[:, 1] - kernel.mean(axis=1)
    step = way / np.linalg.norm(way) * np.linalg.norm(nothing, axis=1).mean() * feedback.STEP
    for found, start in zip(features, starts, strict=True):
        odds = np.exp(start @ kernel + bias)
        while odds[1] / odds.sum() < feedback.LIKELY:
            start = np.clip(start + step, own.features.min(), own.features.max())
            odds = np.exp(start @ kernel + bias)
        np.testing.assert_allclose(found, start, rtol=1e-4)


def test_nothing_is_remembered_of_labels_with_examples_or_of_which_a_head_knows_nothing(one_known_one_new):
    own, class_labels, kernel, bias = one_known_one_new
    both = feedback.Examples(own.features, np.where(own.targets < 0, 0, 1), own.weights, own.pictures)
    assert len(feedback.remembered(both, class_labels, kernel, bias)[1]) == 0
    assert len(feedback.remembered(own, class_labels, np.zeros_like(kernel), bias)[1]) == 0
    shown = own[own.targets == 1]  # nobody looked through a picture: none of its windows shows nothing for certain
    assert set(feedback.remembered(shown, class_labels, kernel, bias)[1]) == {0}


def test_a_known_instrument_is_not_taken_for_a_new_one_that_has_something_of_it(one_known_one_new, random, monkeypatch):
    known = random.uniform(0, 1, (200, 8)).astype(np.float32)
    known[:, :2] += 2

    new = random.uniform(0, 1, (200, 8)).astype(np.float32)
    new[:, 1:3] += [3, 0.3]

    def called_so():
        kernel, bias = feedback.fit(*one_known_one_new, 1e-2)
        called = [(shown @ kernel + bias).argmax(axis=1) for shown in (known, new)]
        return (called[0] == 1).mean(), (called[1] == 2).mean()

    assert min(called_so()) > 0.95
    monkeypatch.setattr(feedback, "REMEMBERED_EACH", 0)
    assert called_so()[0] < 0.5


def test_features_are_turned_by_the_target_and_labels_survive(random, monkeypatch):
    """The labels lie along one direction, what the target differs by along another."""
    monkeypatch.setattr(adapt, "WIDTHS", (16,))
    monkeypatch.setattr(feedback, "EPOCHS", 5)
    pictures = [Picture(None, str(number), (Region(LUTE, (0, 0, 9, 9)),)) for number in range(20)]
    targets = np.tile([0, 1], 200)
    features, other = random.normal(size=(2, 400, 8)).astype(np.float32)
    for values in (features, other):
        values[:, 0] += np.where(targets == 0, 3, -3)
    other[:, 1] += 2

    def examples(values):
        return feedback.Examples(values, targets, np.ones(400), np.repeat(np.arange(20), 20))

    start = np.zeros((8, 3), np.float32), np.zeros(3, np.float32)
    head = feedback.fit(examples(features), CLASS_LABELS, *start, 1e-2)
    turn, shift = feedback._turned(examples(features), pictures, examples(other), CLASS_LABELS, head)
    again = feedback._turned(examples(features), pictures, examples(other), CLASS_LABELS, head)
    elsewhere = feedback._turned(examples(features), pictures, examples(-other), CLASS_LABELS, head)
    assert np.abs(turn).max() > 0.05
    np.testing.assert_array_equal(turn, again[0])
    np.testing.assert_array_equal(shift, again[1])
    assert np.abs(turn - elsewhere[0]).max() > 0.05

    turned = examples(features + features @ turn + shift)
    kernel, bias = adapt.head_after(turn, shift, *feedback.fit(turned, CLASS_LABELS, *start, 1e-2))
    assert ((other @ kernel + bias)[:, 1:].argmax(axis=1) == targets).mean() > 0.95


def test_scores_become_how_likely_a_detection_is_right(builtin_model, random):
    odds = random.normal(1, 2, 4000)
    right = random.random(4000) < 1 / (1 + np.exp(-(0.5 * odds - 1)))
    model = feedback._calibrated(builtin_model, 0.3, 1 / (1 + np.exp(-odds)), right)
    np.testing.assert_allclose(model.configuration.odds_score, (0.5, -1), atol=0.1)
    nothing = feedback._calibrated(builtin_model, 0.3, np.full(5, 0.5), np.zeros(5, bool))
    assert nothing.threshold == 0.3
    assert nothing.configuration.odds_score == (1.0, 0.0)


def test_sure_detections_do_not_let_in_surely_wrong_ones(builtin_model):
    right = np.arange(40) < 25
    model = feedback._calibrated(builtin_model, 0.3, np.where(right, 0.98, 0.02), right)
    slope, constant = model.configuration.odds_score
    certain = np.log(0.98 / 0.02)
    sure, wrong = (1 / (1 + np.exp(-(slope * odds + constant))) for odds in (certain, -certain))
    assert wrong < 0.04 < model.threshold < sure


def test_what_was_learnt_is_found_and_what_was_known_is_kept(builtin_model, gallery, tmp_path, random, monkeypatch):
    """Three drawn suns are a new label; a violin is still a violin."""
    pictures = []
    for number in range(6):
        image = Image.new("RGB", (256, 256), tuple(int(v) for v in random.integers(60, 120, 3)))
        disc = Image.new("RGB", (140, 140), "#e0c020")
        x, y = (int(v) for v in random.integers(10, 100, 2))
        image.paste(disc, (x, y))
        image.save(tmp_path / f"{number}.png")
        region = Region(Label("Sun"), (x, y, x + 140.0, y + 140.0))
        pictures.append(Picture(tmp_path / f"{number}.png", str(number), (region,)))
    model = feedback.learn(builtin_model, pictures[:5])
    monkeypatch.setattr(feedback, "ROOM", 1 << 60)  # more than any disk has, so nothing is kept
    other = feedback.learn(builtin_model, pictures[:5])
    for one, two in zip(model.network.get_weights(), other.network.get_weights(), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-3)  # what is kept has 16 bits
    from training.evaluate import detections_of

    found = detections_of(model, pictures[5].path)
    assert model.labels[found.labels[0]] == Label("Sun")
    assert intersection_over_union(found.boxes[0], np.array(pictures[5].regions[0].box)) > 0.3
    violin = detections_of(model, gallery / "violin_in_oil.png")
    before = detections_of(builtin_model, gallery / "violin_in_oil.png")
    assert model.labels[violin.labels[0]].name == builtin_model.labels[before.labels[0]].name
