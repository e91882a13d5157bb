"""Training jobs over real HTTP: a curator looks through what a job found, another job learns from it."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import shapely
from PIL import Image, ImageDraw

from annotator import job as job_module
from annotator.detection import SCAN_SIDE
from annotator.detection.boxes import intersection_over_union
from annotator.embedded import annotations, seed
from annotator.errors import AnnotatorError, ExitCode
from annotator.learn import _judge, _restyled
from annotator.models import bundle
from annotator.models.backbones import BACKBONES
from annotator.models.bundle import Label
from annotator.parameters import BACKBONES as NAMES
from annotator.parameters import LONGEST_SIDE, STYLES
from annotator.platform import image_uses, promotion
from annotator.platform.connection import Connection
from annotator.platform.images import ProjectImage
from annotator.platform.judgements import Judgement, Verdict
from annotator.training_set import TrainingSet, _of_artworks, as_picture
from benchmarks.curator import Instrument, look_through
from training import feedback, splits
from training.datasets import Picture, Region
from training.evaluate import detections_of
from training.style import stylise

ROOT = Path(__file__).parents[1]
SIDE = 260


def draw(path, kind, random):
    """A soft ground, with a red lens or a striped bar on it, or with nothing; returns the box of what is there."""
    ground = random.integers(70, 150, (4, 4, 3), np.uint8)
    image = Image.fromarray(ground).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    canvas = ImageDraw.Draw(image)
    x, y = (int(value) for value in random.integers(20, 100, 2))
    box = (x, y, x + 130, y + 130)
    if kind == "lens":
        canvas.ellipse(box, fill="#c01818", outline="#ffdd44", width=10)
    elif kind == "bars":
        for step in range(0, 130, 26):
            canvas.rectangle((x + step, y, x + step + 12, y + 130), fill="#1030d0")
    image.save(path)
    return box


@pytest.fixture
def collection(project, tmp_path, loaded_once):
    """Twenty-four images of two things that no model knows, some of nothing; with the truth."""
    random = np.random.default_rng(5)
    lens = seed.add_term(project.server.store, project.ontology, "Lens of Doom")["id"]
    images = {}
    for number in range(24):
        kind, term = (("lens", lens), ("bars", _term(project, "snaartuig")), ("nothing", None))[number % 3]
        box = draw(tmp_path / f"{number}.png", kind, random)
        image = project.add_image(tmp_path / f"{number}.png")
        images[image] = (SIDE, [Instrument(term, shapely.box(*box))] if term else [])
    return project, lens, images


def annotate(project, **values):
    launched = project.launch(**values)
    assert job_module.run(launched.arguments) is ExitCode.OK
    return project.server.store.get("job", launched.job)


def uses_of(project, images):
    rows = project.server.store.find("property", ownerKind="imageinstance", key="instrument_use")
    return [row for row in rows if row["domainIdent"] in images]


def finds(project, job, term, images):
    """Whether a job has given a term to what it means in at least seven of eight images, and in at most one other."""
    term_of = {row["annotation"]: row["term"] for row in project.server.store.find("annotationterm")}
    drawn = [item for item in project.annotations() if item["user"] == job["userJob"]]
    found = {item["image"] for item in drawn if term_of.get(item["id"]) == term}
    right = {image for image, (_, truth) in images.items() if truth and truth[0].term == term}
    return len(found & right) >= 7 and len(found - right) <= 1


def test_a_project_learns_new_things_promotes_them_and_finds_them(collection):
    project, lens, images = collection
    server = project.server
    first = annotate(project)
    said = look_through(server.access, project.id, first["userJob"], images)
    assert said["drawn"] + said["corrected"] + said["accepted"] == 16

    terms = f"{lens},{_term(project, 'snaartuig')}"
    trained = annotate(project, mode="train_and_annotate", cytomine_id_terms=terms)
    assert trained["statusComment"].startswith("Promoted. The new model is better on "), trained["statusComment"]
    assert " of 24 images. " in trained["statusComment"]
    uses = [row["value"] for row in uses_of(project, images)]
    assert sorted(set(uses)) == ["test", "training"]
    assert uses.count("test") == 9
    taught = {row["domainIdent"] for row in uses_of(project, images) if row["value"] == "training"}
    said = re.search(r"Learnt from 15 images: (.*?)\.", trained["statusComment"])
    counts = {name: int(count) for count, name in re.findall(r"(\d+) (\w+)", said[1])}
    assert sum(counts.get(name, 0) for name in ("drawn", "corrected", "accepted")) == sum(
        len(truth) for image, (_, truth) in images.items() if image in taught
    )
    (page,) = server.store.find("jobdata", job=trained["id"], key="training report")
    html = server.store.file(page["stored"]).read_text()
    assert "Lens of Doom" in html
    assert html.count("data:image/png") >= 2

    connection = Connection(server.access.host, *_keys(project))
    assert promotion.promoted_job(connection, project.id) == trained["id"]
    second = annotate(project, evidence=True)
    for job in (trained, second):  # what a job has just learnt and promoted it annotates with, as all after it do
        assert finds(project, job, lens, images)
    # Going on with one of them alone does not make the other background, though people see it in these images.
    one = annotate(project, mode="train", cytomine_id_terms=lens)
    third = annotate(project, cytomine_id_job=one["id"])
    assert finds(project, third, lens, images)
    assert finds(project, third, _term(project, "snaartuig"), images)

    # Beside each detection on the report what it is most like of all that was learnt here.
    (row,) = server.store.find("jobdata", job=second["id"], key="report")
    page = server.store.file(row["stored"]).read_text()
    assert page.count('class="nearest"') == page.count('class="evidence"') > 0
    assert "An example of Lens of Doom" in page
    named = {image["instanceFilename"] for image in server.store.find("imageinstance", project=project.id)}
    shown = re.findall(r"<small>(.+?) (-?[0-9.]+), (.+?)</small>", page)
    assert {source for _, _, source in shown} <= named
    assert all(-1 <= float(likeness) <= 1 for _, likeness, _ in shown)

    # Back to the built-in model, by a person's word.
    back = annotate(project, mode="promote")
    assert "from now on this project uses the built-in model" in back["statusComment"].lower()
    assert promotion.promoted_job(connection, project.id) is None
    again = annotate(project, mode="promote", cytomine_id_job=trained["id"])
    assert f"training job {trained['id']}" in again["statusComment"]
    assert promotion.promoted_job(connection, project.id) == trained["id"]


def test_what_fails_after_the_training_is_completed_by_an_annotating_job(collection, no_pauses):
    project, lens, images = collection
    server = project.server
    first = annotate(project)
    look_through(server.access, project.id, first["userJob"], images)
    # The third time that the server stores anything on an image, and from then on, it fails.
    rule = {"path": "/api/annotation.json", "method": "POST", "kind": "status", "value": 500}
    server.fail(rule | {"after": 2, "times": 99})
    terms = f"{lens},{_term(project, 'snaartuig')}"
    launched = project.launch(mode="train_and_annotate", cytomine_id_terms=terms)
    assert job_module.run(launched.arguments) is ExitCode.UPLOAD
    number = launched.job
    assert store_comment(project, launched).endswith(f"To go on, launch again with mode annotate and resume {number}.")
    server.fail()
    completed = annotate(project, resume=number)
    assert 0 < int(re.search(r"(\d+) images? done before", completed["statusComment"])[1]) < 24
    users = {completed["userJob"], project.server.store.get("job", number)["userJob"]}
    term_of = {row["annotation"]: row["term"] for row in server.store.find("annotationterm")}
    found = [item["image"] for item in project.annotations() if item["user"] in users and term_of[item["id"]] == lens]
    right = {image for image, (_, truth) in images.items() if truth and truth[0].term == lens}
    assert len(set(found) & right) >= 7
    assert len(found) == len(set(found))


@pytest.mark.timeout(900)  # the largest of all jobs; a minute where nothing else runs
def test_a_project_learns_from_copies_and_from_images_that_nobody_looked_through(collection, tmp_path, monkeypatch):
    monkeypatch.setattr(feedback, "EPOCHS", 2)
    project, lens, images = collection
    server = project.server
    looked = dict(list(images.items())[:15])
    random = np.random.default_rng(6)
    draw(tmp_path / "unseen.png", "lens", random)
    others = [image for image in images if image not in looked]
    others += [project.add_image(tmp_path / "unseen.png") for _ in range(3)]  # near-duplicates of each other, no harm
    for number in range(36):
        draw(tmp_path / f"unseen{number}.png", ("lens", "nothing", "bars", "nothing")[number % 4], random)
        others.append(project.add_image(tmp_path / f"unseen{number}.png"))
    teaching = [image for image in others if image_uses.may_teach(image)][:18]
    kept = [image for image in others if not image_uses.may_teach(image)]
    first = annotate(project, cytomine_id_images=_ids(looked))
    look_through(server.access, project.id, first["userJob"], looked)
    chosen = _ids([*looked, *teaching, *kept])
    options = {"style_augment": "fourier", "adversarial": True, "cytomine_id_images": chosen}
    trained = annotate(project, mode="train", cytomine_id_terms=f"{lens},{_term(project, 'snaartuig')}", **options)
    said = r"(\d+) images, \1 restyled \(fourier\), 18 without labels"
    assert re.search(f"Learnt from {said}: ", trained["statusComment"]), trained["statusComment"]

    uses = {row["domainIdent"]: row["value"] for row in uses_of(project, [*images, *others])}
    assert sorted(image for image in uses if image not in looked) == sorted(teaching)
    assert {uses[image] for image in teaching} == {"training"}
    (row,) = server.store.find("attachedfile", domainIdent=trained["id"], filename="model.zip")
    (tmp_path / "model.zip").write_bytes(server.store.file(row["stored"]).read_bytes())
    model = bundle.load(tmp_path / "model.zip")
    assert re.search(said, model.configuration.lineage[-1])

    # It finds what it learnt, in pictures that are nobody's.
    names = [label.name for label in model.labels]
    right = 0
    for kind in ("lens", "nothing") * 3:
        box = draw(tmp_path / "new.png", kind, random)
        found = detections_of(model, tmp_path / "new.png")
        found = found[found.scores >= model.threshold]
        fits = intersection_over_union(found.boxes, np.array(box, float)) > 0.3
        right += (fits & (found.labels == names.index("Lens of Doom"))).any() == (kind == "lens")
    assert right >= 5


def test_too_few_images_to_learn_from_without_labels_are_told(collection):
    project, lens, images = collection
    first = annotate(project)
    look_through(project.server.access, project.id, first["userJob"], images)
    launched = project.launch(mode="train", adversarial=True, cytomine_id_terms=lens)
    assert job_module.run(launched.arguments) is ExitCode.USAGE
    comment = project.server.store.get("job", launched.job)["statusComment"]
    assert comment.startswith("0 images that nobody has looked through can be learnt from")
    assert comment.endswith("Adversarial training takes 16 at least: add images, or launch without adversarial.")


def test_what_is_not_learnt_counts_neither_for_nor_against(tmp_path):
    image = ProjectImage(5, "five.png", 200, 100, None, looked_through=True)
    square = shapely.box(10, 10, 50, 50)
    labels = {1: Label("Lens"), 2: Label("Bars"), 3: Label("Bell")}
    said = [
        Judgement(5, square, (1,), Verdict.ACCEPTED),
        Judgement(5, square, (1,), Verdict.PASSED_OVER),  # of a user who was not chosen, say
        Judgement(5, square, (1, 2), Verdict.DRAWN),
        Judgement(5, square, (3,), Verdict.DRAWN),  # too few
        Judgement(5, square, (4,), Verdict.DRAWN),  # a term that was not chosen
        Judgement(5, square, (), Verdict.PASSED_OVER),  # of a term that was deleted
        Judgement(5, square, (1,), Verdict.REJECTED),
    ]
    picture = as_picture(tmp_path / "5.jpg", image, 100, said, labels, {labels[1], labels[2]})
    assert picture.complete
    assert picture.regions[0] == Region(labels[1], (5, 5, 25, 25), weight=2.0)
    assert [(region.difficult, region.box) for region in picture.regions[1:]] == [(True, (5, 5, 25, 25))] * 5
    assert picture.rejected == ((5, 5, 25, 25),)


def test_of_a_term_and_its_parents_the_narrowest_counts(tmp_path):
    image = ProjectImage(5, "five.png", 100, 100, None, looked_through=True)
    violin, strings, harp = Label("Violin", 3573), Label("Stringed instruments", 3101), Label("Harp", 3285)
    square, labels = shapely.box(10, 10, 50, 50), {1: violin, 2: strings, 3: harp}
    said = [Judgement(5, square, terms, Verdict.DRAWN) for terms in ((1, 2), (2,), (1, 2, 3))]
    picture = as_picture(tmp_path / "5.jpg", image, 100, said, labels, {violin, strings, harp})
    assert [region.difficult for region in picture.regions] == [False, False, True]
    assert [region.label for region in picture.regions[:2]] == [violin, strings]


def test_images_of_one_artwork_are_left_out_together(small, tmp_path):
    """Else what is learnt from one is judged by the other, and thresholds promise too much."""
    files = [small / f"{name}.png" for name in ("harp_in_oil", "violin_in_oil", "guitar_fresco")]
    Image.open(files[0]).convert("RGB").save(tmp_path / "again.jpg", quality=80)
    given = {3: files[0], 5: files[1], 8: tmp_path / "again.jpg", 9: files[2]}
    alone = {number: Picture(path, str(number)) for number, path in given.items()}
    pictures = _of_artworks(alone, {picture.path: splits.fingerprint(picture) for picture in alone.values()})
    assert {number: picture.group for number, picture in pictures.items()} == {3: "3", 5: "5", 8: "3", 9: "9"}
    folds = feedback.folds_of(list(pictures.values()))
    assert folds[0] == folds[2]
    assert len(set(folds.tolist())) == 3


def test_copies_are_made_of_nothing_that_is_judged_by(tmp_path):
    random = np.random.default_rng(8)
    pictures = []
    for number in range(9):
        draw(tmp_path / f"{number}.png", "lens", random)
        region = Region(Label("Lens"), (20.0, 20.0, 150.0, 150.0), weight=2.0)
        pictures.append(Picture(tmp_path / f"{number}.png", f"group {number}", (region,), complete=number % 2 == 0))
    training, others, test = pictures[:4], pictures[4:6], pictures[6:]
    prints = {picture.path: splits.fingerprint(picture) for picture in pictures}
    given = TrainingSet(training, test, others, {}, {}, prints, {})
    copies = _restyled(stylise.restyler("reinhard"), given, tmp_path / "copies")
    assert len(copies) == len(training)
    assert {copy.group for copy in copies} == {picture.group for picture in training}
    for copy in copies:
        (content,) = [picture for picture in training if picture.group == copy.group]
        assert (copy.regions, copy.complete, copy.part) == (content.regions, content.complete, "training")
        assert copy.sources[0] == prints[content.path].sha256 != copy.sources[1]
        assert set(copy.sources) <= {prints[picture.path].sha256 for picture in (*training, *others)}
        assert copy.path.read_bytes() != content.path.read_bytes()
    with pytest.raises(AnnotatorError, match="no second image whose style"):
        _restyled(stylise.restyler("reinhard"), replace(given, training=training[:1], unlabelled=[]), tmp_path / "none")


def _ids(images):
    return ",".join(map(str, images))


def test_two_trainings_at_once_do_not_disturb_each_other(collection):
    project, lens, every = collection
    store = project.server.store
    images = {image: truth for image, truth in list(every.items())[:18] if truth[1]}
    first = annotate(project, cytomine_id_images=_ids(images))
    look_through(project.server.access, project.id, first["userJob"], images)
    terms = f"{lens},{_term(project, 'snaartuig')}"
    launched = [project.launch(mode="train", cytomine_id_terms=terms) for _ in range(2)]
    running = [subprocess.Popen([sys.executable, "run.py", *one.arguments[2:]]) for one in launched]
    assert [process.wait() for process in running] == [0, 0]
    # At the same moment both may write what an image is for: then they write the same.
    uses = {(row["domainIdent"], row["value"]) for row in uses_of(project, images)}
    assert len(uses) == len(images) == 12
    comments = [store.get("job", one.job)["statusComment"] for one in launched]
    promoted = [comment.startswith("Promoted. The new model is better on ") for comment in comments]
    # Whoever ends last has the other's model to beat, which has learnt the same; if both end at once, both promote.
    assert any(promoted), comments
    assert all(comment.startswith(("Promoted. ", "Not promoted. ")) for comment in comments)
    connection = Connection(project.server.access.host, *_keys(project))
    winners = [one.job for one, won in zip(launched, promoted, strict=True) if won]
    rows = [row for row in store.find("property", key=promotion.PROMOTED) if row["domainIdent"] in winners]
    assert promotion.promoted_job(connection, project.id) == max(rows, key=lambda row: row["id"])["domainIdent"]


def test_with_nothing_said_there_is_nothing_to_learn(project, small, no_pauses, loaded_once):
    project.add_image(small / "harp_in_oil.png")
    launched = project.launch(mode="train")
    assert job_module.run(launched.arguments) is ExitCode.NOT_FOUND
    comment = project.server.store.get("job", launched.job)["statusComment"]
    assert comment.startswith("None of the 0 images to learn from shows an instrument that somebody drew or validated.")


def say(project, picture, term, count):
    """Images on each of which somebody drew something with a term."""
    store = project.server.store
    for _ in range(count):
        image = project.add_image(picture)
        body = {"image": image, "location": "POLYGON ((9 9, 99 9, 99 99, 9 99, 9 9))", "terms": [term]}
        annotations.add(store, project.server.user, body)


def test_all_of_one_term_can_be_learnt_and_what_is_too_little_is_told(project, small, no_pauses, loaded_once):
    store = project.server.store
    say(project, small / "harp_in_oil.png", _term(project, "Harps"), 3)
    new = seed.add_term(store, project.ontology, "Serpent")["id"]
    say(project, small / "piano_fresco.png", new, 2)
    learnt = annotate(project, mode="train")
    assert learnt["statusComment"].startswith(
        "Not promoted. Not judged: 0 test artworks with instruments, 4 are the least."
    )
    (page,) = store.find("jobdata", job=learnt["id"])
    html = store.file(page["stored"]).read_text()
    assert "Serpent is new to the model and has 2 annotations, 3 are the least: not learnt yet." in html
    (file,) = store.find("attachedfile", domainIdent=learnt["id"], filename="model.zip")
    assert file["stored"]


def test_a_single_image_can_be_learnt_from(project, small, no_pauses, loaded_once):
    say(project, small / "harp_in_oil.png", _term(project, "Harps"), 1)
    assert annotate(project, mode="train")["statusComment"].endswith("Learnt from 1 image: 1 drawn.")


def test_a_model_is_judged_against_the_promoted_one_even_if_it_began_with_another(
    project, small, builtin_model, tmp_path
):
    store, connection = project.server.store, Connection(project.server.access.host, *_keys(project))
    named = replace(builtin_model, configuration=replace(builtin_model.configuration, name="champion"))
    bundle.save(named, tmp_path / "model.zip")
    promoted = project.launch(mode="train").job
    stored = store.add_file((tmp_path / "model.zip").read_bytes())
    store.add("attachedfile", ownerKind="job", domainIdent=promoted, filename="model.zip", stored=stored)
    promotion.promote(connection, promoted, promoted)
    files = [small / f"{name}.png" for name in ("harp_in_oil", "violin_in_oil", "guitar_fresco", "piano_fresco")]
    test = [Picture(file, file.stem, (Region(Label("Harp"), (50.0, 50.0, 200.0, 200.0)),)) for file in files]
    verdict, comparison, best = _judge(connection, project.id, builtin_model, test, tmp_path)
    assert verdict.startswith("The new model is not shown to be better on 4 test images")
    assert comparison is not None
    assert best.name == "champion"
    views = [replace(picture, group="one harp") for picture in test]
    verdict, *_ = _judge(connection, project.id, builtin_model, views, tmp_path)
    assert verdict.startswith("Not judged: 1 test artwork with instruments, 4 are the least.")
    # Minutes of training are not lost where the promoted model is gone.
    store.remove("attachedfile", store.find("attachedfile", domainIdent=promoted)[0]["id"])
    verdict, comparison, best = _judge(connection, project.id, builtin_model, test, tmp_path)
    assert verdict.startswith(f"Not judged: Job {promoted} has no file model.zip")
    assert (comparison, best) == (None, None)


def in_the_image(folder):
    """The files of this project that the container image has: what the Dockerfile copies and docker is let see."""
    let_in = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for line in re.findall(r"^COPY (.+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE):
        *sources, target = line.split()
        for source in sources if target.startswith("/app/") else ():
            assert source in let_in
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, folder / target[1:], ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / source, folder / target[1:])
    return folder / "app"


def test_what_is_in_the_container_image_is_all_that_a_training_job_needs(project, small, tmp_path):
    say(project, small / "harp_in_oil.png", _term(project, "Harps"), 3)
    (tmp_path / "app").mkdir()
    launched = project.launch(mode="train_and_annotate")
    command = [sys.executable, in_the_image(tmp_path) / "run.py", *launched.arguments[2:]]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == ExitCode.OK, ended.stdout + ended.stderr
    assert "3 images. " in store_comment(project, launched)


def test_weights_that_cannot_be_fetched_are_told_before_the_pictures_are_fetched(project, small, tmp_path):
    say(project, small / "harp_in_oil.png", _term(project, "Harps"), 3)
    launched = project.launch(mode="train", backbone="vgg19")
    command = [sys.executable, "run.py", *launched.arguments[2:]]
    no_internet = os.environ | {"https_proxy": "http://127.0.0.1:9", "KERAS_HOME": str(tmp_path)}
    ended = subprocess.run(command, cwd=ROOT, env=no_internet, capture_output=True, text=True, check=False)
    assert ended.returncode == ExitCode.BAD_MODEL, ended.stdout + ended.stderr
    comment = store_comment(project, launched)
    assert comment.startswith("The weights 'imagenet' of vgg19 cannot be had: ")
    assert "Take efficientnet-lite0" in comment
    assert "images fetched" not in ended.stdout + ended.stderr


def test_what_was_drawn_but_is_not_to_be_learnt_is_told(project, small, no_pauses, loaded_once):
    store = project.server.store
    lens = seed.add_term(store, project.ontology, "Lens of Doom")["id"]
    say(project, small / "harp_in_oil.png", lens, 3)
    launched = project.launch(mode="train")
    assert job_module.run(launched.arguments) is ExitCode.NOT_FOUND
    assert "Not learnt, unless they are chosen as terms: Lens of Doom. " in store_comment(project, launched)
    launched = project.launch(mode="train", cytomine_id_terms=_term(project, "Harps"))
    assert job_module.run(launched.arguments) is ExitCode.NOT_FOUND
    assert "Not learnt, unless they are chosen as terms: Lens of Doom. " in store_comment(project, launched)


def test_too_few_of_something_new_are_told_where_there_is_nothing_else(project, small, no_pauses, loaded_once):
    lens = seed.add_term(project.server.store, project.ontology, "Lens of Doom")["id"]
    say(project, small / "harp_in_oil.png", lens, 1)
    launched = project.launch(mode="train", cytomine_id_terms=lens)
    assert job_module.run(launched.arguments) is ExitCode.NOT_FOUND
    assert "Lens of Doom is new to the model and has 1 annotation, " in store_comment(project, launched)


@pytest.mark.parametrize("path", ["ImageInstance/.*/property", "attachedfile"])
def test_without_the_right_to_write_the_job_says_so_before_it_learns(
    project, small, server, no_pauses, loaded_once, monkeypatch, path
):
    say(project, small / "harp_in_oil.png", _term(project, "Harps"), 3)
    server.fail({"path": path, "method": "POST", "kind": "status", "value": 403, "times": 9})
    monkeypatch.setattr(feedback, "learn", None)  # minutes that nobody would get anything from
    launched = project.launch(mode="train")
    assert job_module.run(launched.arguments) is ExitCode.NOT_FOUND
    assert "No right to use" in store_comment(project, launched)


def store_comment(project, launched):
    return project.server.store.get("job", launched.job)["statusComment"]


def test_a_private_training_job_of_another_user_is_refused_in_one_line(project, small, server, no_pauses):
    project.add_image(small / "harp_in_oil.png")
    server.fail({"path": "/api/job/4242.json", "method": "GET", "kind": "status", "value": 403, "times": 9})
    launched = project.launch(mode="train", cytomine_id_job=4242)
    assert job_module.run(launched.arguments) is ExitCode.NOT_FOUND
    assert store_comment(project, launched).startswith("No right to use training job 4242")


def _keys(project):
    return project.server.access.public_key, project.server.access.private_key


def _term(project, name):
    (row,) = project.server.store.find("term", ontology=project.ontology, name=name)
    return row["id"]


def test_backbones_of_the_parameters_are_those_that_there_are():
    assert set(NAMES) == set(BACKBONES)
    assert LONGEST_SIDE == SCAN_SIDE


def test_styles_of_the_parameters_are_those_that_there_are():
    assert set(STYLES) == set(stylise.KINDS)
