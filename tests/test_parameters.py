import json
import re
from pathlib import Path

import pytest

from annotator.errors import AnnotatorError, ExitCode
from annotator.parameters import VALUES, JobParameters, descriptor, help_text, markdown_table, parse, parse_access

ROOT = Path(__file__).parents[1]
SERVER = [
    *("--cytomine_host", "http://h", "--cytomine_public_key", "pub", "--cytomine_private_key", "priv"),
    *("--cytomine_id_project", "42", "--cytomine_id_software", "7"),
]


def test_descriptor_file_is_the_table():
    assert json.loads((ROOT / "descriptor.json").read_text()) == descriptor(), "run: python -m annotator descriptor"


def test_readme_shows_the_table():
    assert markdown_table() in (ROOT / "README.md").read_text()


def test_descriptor_keeps_the_rules_of_the_router():
    written = descriptor()
    identifiers = [item["id"] for item in written["inputs"]]
    assert len(set(identifiers)) == len(identifiers)
    for item in written["inputs"]:
        assert re.fullmatch(r"[a-z_]+", item["id"])
        assert item["value-key"] == "[@ID]"
        assert item["command-line-flag"] == "--@id"
        assert isinstance(item["optional"], bool)
        assert not re.search(r"[ \"'$`;]", str(item.get("default-value", "")))
        assert item["type"] != "Boolean" or item["default-value"] == "false"
        on_line = f"[{item['id'].upper()}]" in written["command-line"]
        assert on_line != item.get("server-parameter", False)
    assert written["container-image"]["type"] == "singularity"
    assert identifiers[:5] == [item["id"] for item in written["inputs"] if item["set-by-server"]]


def test_defaults():
    assert parse(SERVER) == JobParameters("http://h", "pub", "priv", 42, 7)


def test_all_values_strays_and_placeholders():
    given = "--cytomine_id_images 3,1,3 --threshold 0.25 --max_detections 5 --create_terms True --unknown x"
    placeholders = "--cytomine_id_job [CYTOMINE_ID_JOB] --mem [MEM]"  # as cores of the ULiege line leave them
    found = parse(["python", "run.py", *SERVER, *given.split(), *placeholders.split()])
    assert found.cytomine_id_images == (3, 1)
    assert (found.threshold, found.max_detections, found.create_terms) == (0.25, 5, True)
    assert found.cytomine_id_job is None
    assert found.mem is None


@pytest.mark.parametrize(
    ("text", "value"), [("true", True), ("1", True), ("false", False), ("No", False), ("0", False)]
)
def test_a_switch_is_on_or_off(text, value):
    assert parse([*SERVER, "--evidence", text]).evidence is value


@pytest.mark.parametrize("threshold", ["0", "1"])
def test_the_ends_of_the_scale_are_thresholds(threshold):
    assert parse([*SERVER, "--threshold", threshold]).threshold == float(threshold)


def test_a_value_with_blanks_is_not_cut_at_the_first():
    """What was typed on the page reaches the command line without quotes, so it comes in several parts."""
    given = "--cytomine_id_images 3, 1, 2 [CYTOMINE_ID_JOB] --threshold 0.25 --evidence true [RESUME]"
    found = parse(["python", "run.py", *SERVER, *given.split()])
    assert (found.cytomine_id_images, found.threshold, found.evidence) == ((3, 1, 2), 0.25, True)
    assert found.cytomine_id_job is None


def test_the_client_s_other_names():
    from cytomine.cytomine import _cytomine_parameter_name_synonyms

    for name in ("cytomine_host", "cytomine_public_key", "cytomine_private_key"):
        for flag in _cytomine_parameter_name_synonyms(name):
            given = [flag if part == f"--{name}" else part for part in SERVER]
            assert getattr(parse(given), name) == getattr(parse(SERVER), name)
    for name in ("cytomine_id_project", "cytomine_id_software"):
        for flag in _cytomine_parameter_name_synonyms(name):
            assert getattr(parse([*SERVER, flag, "99"]), name) == 99


@pytest.mark.parametrize("key", ["9c1e…77ab", "9c1e 77ab", "9c1e\n77ab"])
def test_a_key_that_cannot_be_one_is_told_but_not_shown(key):
    with pytest.raises(AnnotatorError, match="--cytomine_private_key has characters that no key has") as caught:
        parse_access([*SERVER, "--cytomine_private_key", key])
    assert "77ab" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--cytomine_host, "),
        (SERVER[2:], "--cytomine_host missing"),
        ([*SERVER, "--threshold", "high"], "--threshold is 'high', it must be a number"),
        ([*SERVER, "--threshold", "1.5"], "--threshold is 1.5, it must lie between 0 and 1"),
        ([*SERVER, "--threshold", "nan"], "--threshold is nan, it must lie between 0 and 1"),
        ([*SERVER, "--max_detections", "0"], "--max_detections is 0, it must be at least 1"),
        ([*SERVER, "--max_detections", "2.5"], "--max_detections is '2.5'"),
        ([*SERVER, "--longest_side", "1791"], "--longest_side is 1791, it must be at least 1792"),
        ([*SERVER, "--longest_side", "all"], "--longest_side is 'all', it must be a number"),
        ([*SERVER, "--create_terms", "maybe"], "--create_terms is 'maybe', it must be true or false"),
        ([*SERVER, "--cytomine_id_images", "1,two"], "--cytomine_id_images is '1,two', it must be ids joined"),
        ([*SERVER, "--cytomine_id_job", "best"], "--cytomine_id_job is 'best', it must be an id"),
        (
            [*SERVER, "--mode", "train", "and", "annotate"],
            "--mode is 'train and annotate', it must be one of annotate,",
        ),
        ([*SERVER, "--max_training_images", "0"], "--max_training_images is 0, it must be at least 1"),
        ([*SERVER, "--cytomine_reviewed", "3"], "--cytomine_reviewed is 3, it must be one of 0, 1, 2"),
        (
            [*SERVER, "--backbone", "resnet51"],
            "--backbone is 'resnet51', it must be one of efficientnet-lite0, resnet50,",
        ),
        ([*SERVER, "--style_augment", "monet"], "--style_augment is 'monet', it must be one of reinhard, fourier,"),
        ([*SERVER, "--threshold"], "expected at least one argument"),
    ],
)
def test_mistakes_are_one_line_with_the_value(arguments, message):
    with pytest.raises(AnnotatorError, match=re.escape(message)) as caught:
        parse(arguments)
    assert caught.value.code is ExitCode.USAGE
    assert "\n" not in str(caught.value)
    assert "priv" not in str(caught.value).replace("--cytomine_private_key", "")


def test_help_names_every_parameter_once_with_what_to_type():
    text = help_text()
    assert "VALUE ...]\n\nFinds" in text  # in the usage alone
    assert text.count("VALUE") == 2
    for item in descriptor()["inputs"]:
        shown = re.findall(rf"^  --{item['id']} (\S+)", text, re.MULTILINE)
        assert shown == ([] if item.get("server-parameter") else [VALUES[item["type"]]])
    assert "best first. (default: 100)" in " ".join(text.split())
