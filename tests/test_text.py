import numpy as np
import pytest
from PIL import Image, ImageDraw

from annotator.text import SMALLEST, fitting_font, printable, shortened


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Joueur de luth\u00a0: \u00e9tude", None),  # French puts such a space before a colon
        ("Screenshot 3.45\u202fPM", None),
        ("\u6b4c\u5ddd\u3000\u4e09\u5473\u7dda", None),
        ("\u0645\u06cc\u200c\u0646\u0648\u0627\u0632\u062f", None),  # Persian is not spelt without it
        ("a\nb\tc\x00", "a?b?c?"),
        ("\u202egnp.exe\u2066", "?gnp.exe?"),
        ("a\u2028b \ud83d", "a?b ?"),
    ],
)
def test_only_what_could_break_or_turn_a_line_is_replaced(text, expected):
    assert printable(text) == (text if expected is None else expected)


@pytest.mark.parametrize("letter", ["\u00c9", "\u00f6", "\u0142", "\u0101", "\u0416", "\u03bb", "\u05e9"])
def test_letters_of_other_languages_can_be_read_in_captions(letter):
    def drawn(text):
        page = Image.new("L", (60, 40), "white")
        ImageDraw.Draw(page).text((4, 4), text, "black", fitting_font([text], 50, 24))
        return np.asarray(page)

    nothing = "\uffff"  # no font has it: what is drawn in its place
    assert not np.array_equal(drawn(letter), drawn(nothing))


@pytest.mark.parametrize(("length", "expected"), [(3, "lu…"), (4, "lute"), (5, "lute")])
def test_a_shortened_text_is_as_long_as_it_may_be(length, expected):
    assert shortened("lute", length) == expected


def test_letters_are_as_large_as_fit():
    text = "Orchestral set of tubular bells"
    assert fitting_font([text], 10_000, 24).size == 24
    assert fitting_font([text], 20, 24).size == SMALLEST
    font = fitting_font(["Lute", text], 200, 24)
    assert font.getlength(text) <= 200 < fitting_font([text], 10_000, int(font.size) + 1).getlength(text)
