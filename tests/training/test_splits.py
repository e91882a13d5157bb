from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from annotator.errors import AnnotatorError, ExitCode
from annotator.models.bundle import Label
from training import runs, splits
from training.datasets import Picture, Region
from training.datasets.pictures import PARTS
from training.splits import Fingerprint


@pytest.fixture
def pictures(tmp_path, random):
    """Two views each of 40 objects, of two labels; the pictures are noise, so none resembles another."""
    made = []
    for number in range(80):
        path = tmp_path / f"{number}.png"
        Image.fromarray(random.integers(0, 255, (8, 8, 3), np.uint8)).resize((64, 64)).save(path)
        made.append(Picture(path, f"object {number // 2}", (Region(Label(f"label {number % 4 // 2}")),)))
    return made


def test_groups_stay_together_and_seeds_repeat(pictures):
    prints = [splits.fingerprint(picture) for picture in pictures]
    parts = splits.split(pictures, prints, 1)
    groups = [{picture.group for picture in part} for part in (parts.training, parts.development, parts.test)]
    assert sum(map(len, groups)) == 40
    assert len(parts.training) > 50
    assert parts == splits.split(pictures, prints, 1)
    splits.check_leaks(parts, dict(zip(pictures, prints, strict=True)))


def test_near_duplicates_stay_together(pictures):
    """As a museum's and a Flickr copy of one painting, of which nobody noted that they are one."""
    prints = [splits.fingerprint(picture) for picture in pictures]
    copies = range(0, 80, 10)  # the first view of each of eight objects shows what the next one's does
    for number in copies:
        prints[number + 2] = replace(prints[number + 2], perceptual=prints[number].perceptual ^ 0b101)
    given = [replace(pictures[4], part="training"), *pictures[6:]]  # some of what is parted is for something already
    for seed in range(4):
        parts = splits.split(pictures, prints, seed)
        splits.check_leaks(parts, dict(zip(pictures, prints, strict=True)))
        some = splits.split(given, [prints[4], *prints[6:]], seed)
        splits.check_leaks(some, dict(zip(given, [prints[4], *prints[6:]], strict=True)))
    assert len({splits.split(pictures, prints, seed) for seed in range(4)}) == 4


def test_about_a_tenth_is_for_development_and_a_fifth_for_the_test(pictures):
    parts = splits.split(pictures, [splits.fingerprint(picture) for picture in pictures], 1)
    assert [len(getattr(parts, name)) for name in PARTS] == pytest.approx([56, 8, 16], abs=4)


def test_of_a_group_that_is_told_several_things_the_test_has_the_last_word(pictures):
    prints = [splits.fingerprint(picture) for picture in pictures]
    for first, second in ((PARTS[0], PARTS[2]), (PARTS[2], PARTS[0]), (PARTS[1], PARTS[2])):
        parts = splits.split(pictures, prints, 1, {prints[0].sha256: first, prints[1].sha256: second})
        assert {pictures[0], pictures[1]} <= set(parts.test)


def test_what_an_earlier_stage_was_tested_on_stays_test(pictures):
    prints = [splits.fingerprint(picture) for picture in pictures]
    earlier = {prints[0].sha256: "test"}
    for seed in range(5):
        parts = splits.split(pictures, prints, seed, earlier)
        assert {pictures[0], pictures[1]} <= set(parts.test)
        splits.check_leaks(parts, dict(zip(pictures, prints, strict=True)), earlier)


def test_what_an_earlier_stage_learnt_from_judges_no_later_one(pictures):
    prints = [splits.fingerprint(picture) for picture in pictures]
    first = splits.split(pictures[:60], prints[:60], 1)
    number_of = {picture: number for number, picture in enumerate(pictures)}
    earlier = {prints[number_of[one]].sha256: name for name in PARTS for one in getattr(first, name)}
    again = splits.split(pictures[:60], prints[:60], 8, earlier)
    assert [set(getattr(again, name)) for name in PARTS] == [set(getattr(first, name)) for name in PARTS]
    few, more = (splits.split(pictures[:n], prints[:n], 8, earlier) for n in (64, 80))
    assert set(few.training) == {*first.training, *pictures[60:64]}  # too few to part: they teach
    assert set(first.test) < set(more.test)  # of enough new ones some judge
    for parts in (few, more):
        assert not set(first.training) & {*parts.development, *parts.test}
        splits.check_leaks(parts, dict(zip(pictures, prints, strict=True)), earlier)
    with pytest.raises(AnnotatorError, match="No picture is for development"):
        splits.split(pictures, prints, 8, {one.sha256: "training" for one in prints})


def test_a_model_that_does_not_note_what_chose_can_be_started_from(pictures):
    """As all bundles were before `development_pictures`: of few pictures those alone are left, too few to part."""
    prints = {picture: splits.fingerprint(picture) for picture in pictures}
    first = splits.split(pictures, list(prints.values()), 1)
    earlier = {prints[one].sha256: name for name in ("training", "test") for one in getattr(first, name)}
    again = splits.split(pictures, list(prints.values()), 1, earlier)
    assert [set(getattr(again, name)) for name in PARTS] == [set(getattr(first, name)) for name in PARTS]
    splits.check_leaks(again, prints, earlier)


def test_leaks_are_told(pictures):
    prints = {picture: splits.fingerprint(picture) for picture in pictures}
    parts = splits.Split(tuple(pictures[:3]), (), tuple(pictures[3:]))
    with pytest.raises(AnnotatorError, match="views of one object"):
        splits.check_leaks(parts, prints)
    near = {**prints, pictures[2]: prints[pictures[4]]}
    with pytest.raises(AnnotatorError, match="nearly the same"):
        splits.check_leaks(splits.Split((pictures[2],), (), (pictures[4],)), near)
    with pytest.raises(AnnotatorError, match="earlier stage"):
        splits.check_leaks(splits.Split((pictures[2],), (), ()), prints, {prints[pictures[2]].sha256: "test"})
    with pytest.raises(AnnotatorError, match="an earlier stage learnt from it"):
        splits.check_leaks(splits.Split((), (), (pictures[2],)), prints, {prints[pictures[2]].sha256: "training"})
    copy = replace(pictures[2], sources=(prints[pictures[4]].sha256,))
    with pytest.raises(AnnotatorError, match="earlier stage"):
        splits.check_leaks(
            splits.Split((copy,), (), ()), {copy: prints[pictures[2]]}, dict.fromkeys(copy.sources, "test")
        )
    with pytest.raises(AnnotatorError, match="judged by, but an earlier stage learnt from it, or from a picture that"):
        splits.check_leaks(
            splits.Split((), (), (copy,)), {copy: prints[pictures[2]]}, dict.fromkeys(copy.sources, "training")
        )
    other = replace(pictures[6], sources=copy.sources)
    for held in (pictures[4], other):
        with pytest.raises(AnnotatorError, match="was made of what is kept to judge by"):
            splits.check_leaks(
                splits.Split((copy,), (), (held,)), {**prints, copy: prints[pictures[2]], other: prints[pictures[6]]}
            )


@pytest.mark.parametrize("why", ["are views of one object", "show nearly the same"])
def test_a_leak_between_given_splits_ends_as_its_message_says(pictures, why):
    given = [replace(one, part=PARTS[number % 3], group=str(number)) for number, one in enumerate(pictures)]
    first, other = given[0], given[2]
    prints = {one: splits.fingerprint(one) for one in given}
    if why == "show nearly the same":
        prints[other] = prints[first]
    else:
        first, other = given[0], replace(given[2], group=first.group)
        prints[other] = prints.pop(given[2])
        given[2] = other

    def check(pictures):
        own = {one: prints[before] for one, before in zip(pictures, given, strict=True)}
        splits.check_leaks(splits.split(pictures, list(own.values()), 7), own)

    with pytest.raises(AnnotatorError, match=rf"{why} but are in different splits\. Give them one split"):
        check(given)
    with pytest.raises(AnnotatorError, match="in different splits"):  # one group does not help: what the data say stays
        check([replace(one, group="one") if one in (first, other) else one for one in given])
    check([replace(one, part=first.part) if one is other else one for one in given])


def test_data_that_say_what_is_for_what_must_have_some_of_each(pictures):
    prints = [splits.fingerprint(picture) for picture in pictures]
    given = [replace(picture, part=("training", "test")[number % 2]) for number, picture in enumerate(pictures)]
    with pytest.raises(AnnotatorError, match="No picture is for development"):
        splits.split(given, prints, 7)


def test_a_run_goes_on_only_with_the_pictures_that_it_began_with(pictures, tmp_path):
    prints = {picture: splits.fingerprint(picture) for picture in pictures}
    table = tmp_path / runs.SPLITS
    parts = runs.part(pictures[:60], prints, None, 7, table)
    assert runs.part(pictures[:60], prints, None, 7, table) == parts
    with pytest.raises(AnnotatorError, match="Name another folder"):  # or what was learnt from would judge
        runs.part(pictures, prints, None, 7, table)
    named = [replace(one, regions=(Region(Label("label 1"), (0.0, 0.0, 9.0, 9.0)),)) for one in pictures[:60]]
    moved = [replace(one, regions=(Region(Label("label 1"), (0.0, 0.0, 9.0, 5.0)),)) for one in pictures[:60]]
    boxed = [{new: prints[old] for new, old in zip(own, pictures, strict=False)} for own in (named, moved)]
    assert runs.part(named, boxed[0], None, 7, tmp_path / "boxes.csv")
    with pytest.raises(AnnotatorError, match="or their labels"):  # or half would be learnt from the old boxes
        runs.part(moved, boxed[1], None, 7, tmp_path / "boxes.csv")


def test_a_run_that_did_not_get_beyond_its_settings_binds_nobody(tmp_path, builtin_model):
    usual = {"format": None, "mode": "head", "backbone": "", "weights": "", "model": "m", "epochs": 1, "seed": 7}
    mistyped, right = (runs.Settings(data=(data,), **usual) for data in ("typo", "data"))
    runs.claim(tmp_path, mistyped)
    runs.claim(tmp_path, right, builtin_model)
    (tmp_path / runs.SPLITS).write_text("")
    runs.claim(tmp_path, right, builtin_model)
    for settings, model in ((mistyped, builtin_model), (right, replace(builtin_model, version="other"))):
        with pytest.raises(AnnotatorError, match="other settings or from another model"):
            runs.claim(tmp_path, settings, model)


def test_too_few_to_part(pictures):
    with pytest.raises(AnnotatorError, match="too few"):
        splits.split(pictures[:10], [splits.fingerprint(one) for one in pictures[:10]], 1)


def test_labels_with_less_pictures_than_folds_are_parted_all_the_same(pictures):
    few = [pictures[i] for i in range(0, 24, 2)]  # six objects of each label
    parts = splits.split(few, [splits.fingerprint(one) for one in few], 1)
    assert [len(part) for part in (parts.training, parts.development, parts.test)] == pytest.approx([8, 1, 3], abs=1)
    assert len({*parts.training, *parts.development, *parts.test}) == 12


def test_chosen_pictures_must_be_of_every_part(pictures):
    parts = splits.split(pictures, [splits.fingerprint(one) for one in pictures], 1)
    assert parts.only(pictures) == parts
    for name in PARTS:
        with pytest.raises(AnnotatorError, match=f"is for {name}"):
            parts.only({*pictures} - {*getattr(parts, name)})


def test_pictures_that_cannot_be_read_are_named_and_left_out(pictures, tmp_path, capsys):
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    broken = Picture(tmp_path / "broken.jpg", "broken")
    assert list(splits.readable([pictures[0], broken])) == [pictures[0]]
    said = capsys.readouterr().err
    assert "'broken.jpg' cannot be read" in said
    assert "1 of 2 pictures cannot be read and are left out." in said
    with pytest.raises(AnnotatorError, match="None of the 1 pictures can be read") as caught:
        splits.readable([broken])
    assert caught.value.code is ExitCode.BAD_IMAGE


def test_hash_survives_size_and_compression(tmp_path, random):
    image = Image.fromarray(random.integers(0, 255, (9, 9, 3), np.uint8)).resize((300, 200), Image.Resampling.BICUBIC)
    image.resize((150, 100)).save(tmp_path / "small.jpg", quality=60)
    one = splits.perceptual_hash(np.asarray(image))
    other = splits.fingerprint(Picture(tmp_path / "small.jpg", "")).perceptual
    assert (one ^ other).bit_count() <= splits.NEAR


def test_near_duplicates_are_found_among_more_than_are_compared_at_a_time(monkeypatch):
    monkeypatch.setattr(splits, "CHUNK", 3)
    hashes = [0, 0xFFFF, 0xFFFF0000, 1, 0xFF00FF00FF, 0xFFFE, 0xFFFF0000FFFF0000, 0xFF00FF00FE]
    pairs = splits.near_duplicates([Fingerprint("", one) for one in hashes])
    assert pairs.tolist() == [[0, 3], [1, 5], [4, 7]]


def test_chains_of_near_duplicates_are_one_group():
    pairs = splits.near_duplicates([Fingerprint("", 0), Fingerprint("", 0b1111), Fingerprint("", 0b11111111)])
    assert pairs.tolist() == [[0, 1], [1, 2]]
    assert len(set(splits.joined_groups(["a", "b", "c"], pairs))) == 1


def test_names_that_are_no_utf_8_are_noted(pictures, tmp_path):
    odd = [replace(one, path=one.path.with_name(f"fl\udcf6te_{number}.jpg")) for number, one in enumerate(pictures)]
    prints = {other: splits.fingerprint(one) for one, other in zip(pictures, odd, strict=True)}
    runs.part(odd, prints, None, 1, tmp_path / "splits.csv")
    assert "fl\\udcf6te_0.jpg" in (tmp_path / "splits.csv").read_text(encoding="utf-8")
