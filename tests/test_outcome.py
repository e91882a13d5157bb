"""What a job says about what it has done."""

import contextlib
import time

from annotator.outcome import Outcome


def test_the_sentence_counts_images_in_which_something_is():
    outcome = Outcome(counts={1: 2, 2: 0, 3: 1}, failures={4: "gone.", 5: "broken"})
    assert outcome.sentence() == "3 instruments in 2 of 5 images."
    assert outcome.failed() == "2 images failed: gone; broken."
    assert Outcome(counts={1: 1}, earlier={2: 7}).sentence() == "1 instrument in 1 of 1 image. 1 image done before."
    assert Outcome(counts={1: 0}).failed() == ""


def test_the_times_of_a_stage_add_up_also_of_one_that_failed():
    outcome = Outcome()
    for _ in range(2):
        with contextlib.suppress(ValueError), outcome.timed("detect"):
            time.sleep(0.02)
            raise ValueError
    assert outcome.seconds["detect"] >= 0.04
