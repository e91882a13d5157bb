"""THE table of the job's parameters: the fields of `JobParameters`.

From it come the command line (`parse`), its help (`help_text`), descriptor.json (`descriptor`) and the table in the
README (`markdown_table`).
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from typing import Any, NoReturn

from annotator.errors import AnnotatorError, ExitCode

NAME = "Detect-Musical-Instruments"
IMAGE = "musicalinstruments/s_detect-musical-instruments"
BACKBONES = ("efficientnet-lite0", "resnet50", "vgg16", "vgg19")  # a test keeps them those of annotator.models
LONGEST_SIDE = 1792  # annotator.detection.SCAN_SIDE, kept so by a test
STYLES = ("reinhard", "fourier", "arbitrary")  # and these those of training.style.stylise
MODES = ("annotate", "train", "train_and_annotate", "promote")
DESCRIPTION = "Finds musical instruments in artworks and labels them with the project's terms."


def _choice(uri: str, shown: str) -> dict[str, str]:
    """Where Cytomine's page finds what a person may choose from, and which attribute it shows and sorts by."""
    return {"uri": uri, "uri-print-attribute": shown, "uri-sort-attribute": shown}


IMAGES_URI = _choice("/api/project/$currentProject$/imageinstance.json", "instanceFilename")
TERMS_URI = _choice("/api/project/$currentProject$/term.json", "name")
USERS_URI = _choice("/api/project/$currentProject$/user.json", "username")
JOBS_URI = _choice("/api/job.json?project=$currentProject$", "softwareName")


def _parameter(kind: str, name: str, description: str, default: object = None, **more: object) -> Any:
    """One row of the table: the descriptor's fields for one input; without a default the parameter may stay empty."""
    return field(default=default, metadata={"type": kind, "name": name, "description": description} | more)


def _filled_by_server(kind: str, name: str, description: str) -> Any:
    return field(
        metadata={"type": kind, "name": name, "description": description, "set-by-server": True, "optional": False}
    )


# What help shows in the place of a value, by the type of its parameter.
VALUES = {
    "String": "TEXT",
    "Number": "NUMBER",
    "Domain": "ID",
    "ListDomain": "ID,ID,...",
    "Boolean": "true|false",
}

# Other names under which the client takes the server's inputs, and which people type.
SYNONYMS = {
    "cytomine_host": ("host",),
    "cytomine_public_key": ("public_key", "publicKey"),
    "cytomine_private_key": ("private_key", "privateKey"),
    "cytomine_id_project": ("cytomine_project_id", "id_project", "idProject", "project_id"),
    "cytomine_id_software": ("cytomine_software_id", "id_software", "idSoftware", "software_id"),
}


@dataclass(frozen=True)
class JobParameters:
    """What a job is asked to do. Field order is the order on Cytomine's page."""

    cytomine_host: str = _filled_by_server("String", "Cytomine host", "Address of the Cytomine server.")
    cytomine_public_key: str = _filled_by_server("String", "Public key", "Public key of the job or of a person.")
    cytomine_private_key: str = _filled_by_server("String", "Private key", "Private key that belongs to it.")
    cytomine_id_project: int = _filled_by_server("Number", "Project", "Id of the project.")
    cytomine_id_software: int = _filled_by_server("Number", "Software", "Id of this app on the server.")
    mode: str = _parameter(
        "String",
        "Mode",
        "annotate, train (learn from what people validated and drew), train_and_annotate (then annotate with the "
        "better model), or promote (use the training job's model from now on).",
        "annotate",
    )
    cytomine_id_images: tuple[int, ...] = _parameter(
        "ListDomain",
        "Images",
        "Images to annotate or to learn from. Empty: all images of the project.",
        (),
        **IMAGES_URI,
    )
    cytomine_id_job: int | None = _parameter(
        "Domain",
        "Training job",
        "Job whose model is used, or started from. Empty: the one promoted last, else the built-in model; in mode "
        "promote the built-in model.",
        **JOBS_URI,
    )
    threshold: float | None = _parameter(
        "Number", "Threshold", "Least score of a detection, 0 to 1. Empty: the model's own threshold."
    )
    max_detections: int = _parameter("Number", "Most detections", "Most detections in one image, best first.", 100)
    longest_side: int = _parameter(
        "Number",
        "Longest side",
        "Pixels on the longest side that are looked at. More finds smaller instruments in large images, and takes "
        "longer.",
        LONGEST_SIDE,
    )
    create_terms: bool = _parameter(
        "Boolean", "Create terms", "Add terms that the ontology lacks. Off: only existing terms are used.", False
    )
    cytomine_id_terms: tuple[int, ...] = _parameter(
        "ListDomain",
        "Terms",
        "Training: terms to learn. Empty: all that are instruments or that the model knows.",
        (),
        **TERMS_URI,
    )
    cytomine_id_users: tuple[int, ...] = _parameter(
        "ListDomain", "Users", "Training: whose unvalidated annotations count. Empty: everybody's.", (), **USERS_URI
    )
    cytomine_reviewed: int = _parameter(
        "Number", "Validated annotations", "Training: 0 leaves them out, 1 takes them too, 2 takes only them.", 1
    )
    backbone: str | None = _parameter(
        "String",
        "Backbone",
        "Training: network to start anew from, efficientnet-lite0, or resnet50, vgg16 or vgg19, whose weights are "
        "fetched from the internet. Empty: the model in use.",
    )
    max_training_images: int = _parameter(
        "Number",
        "Most training images",
        "Training: images to learn from and to judge by at the most, those that teach most.",
        500,
    )
    style_augment: str | None = _parameter(
        "String",
        "Restyled copies",
        "Training: also learn from a copy of each image in the style of another, made by reinhard, fourier or "
        "arbitrary. Empty: none.",
    )
    adversarial: bool = _parameter(
        "Boolean",
        "Adversarial training",
        "Training: learn from images that nobody has looked through, too, what they have in common with the others.",
        False,
    )
    resume: int | None = _parameter(
        "Domain",
        "Job to go on with",
        "An earlier job that was cut off: what it has done is not done again.",
        **JOBS_URI,
    )
    skip_annotated: bool = _parameter(
        "Boolean",
        "Skip done images",
        "Leave out images that any job has finished with the same model and longest side.",
        False,
    )
    evidence: bool = _parameter(
        "Boolean",
        "Evidence",
        "Attach to each annotation a picture of what speaks for it, and put a report on the job's page.",
        False,
    )
    gres: str | None = _parameter("String", "GPU", "Slurm: a GPU, for example gpu:1.", **{"server-parameter": True})
    mem: str | None = _parameter("String", "Memory", "Slurm: memory, for example 8G.", **{"server-parameter": True})
    time: str | None = _parameter(
        "String", "Time limit", "Slurm: time, for example 12:00:00.", **{"server-parameter": True}
    )


def asked_for(parameters: JobParameters) -> dict[str, Any]:
    """What a person asked for, by name: without what the server fills in itself, the keys above all."""
    return {
        item.name: getattr(parameters, item.name)
        for item in fields(parameters)
        if not item.metadata.get("set-by-server")
    }


def descriptor() -> dict[str, Any]:
    """The content of descriptor.json (schema cytomine-0.1)."""
    inputs = []
    for item in fields(JobParameters):
        entry: dict[str, Any] = {"id": item.name, "value-key": "[@ID]", "command-line-flag": "--@id"}
        entry |= {"optional": True, "set-by-server": False} | item.metadata
        if item.default not in (None, ()) and item.metadata.get("optional", True):
            entry["default-value"] = str(item.default).lower() if isinstance(item.default, bool) else item.default
        inputs.append(entry)
    keys = " ".join(
        f"[{item.name.upper()}]" for item in fields(JobParameters) if not item.metadata.get("server-parameter")
    )
    return {
        "name": NAME,
        "description": DESCRIPTION,
        "schema-version": "cytomine-0.1",
        "container-image": {"image": IMAGE, "type": "singularity", "index": "docker://"},
        "command-line": f"python run.py {keys}",
        "inputs": inputs,
    }


def write_descriptor(path: Path) -> None:
    """Write descriptor.json."""
    path.write_text(json.dumps(descriptor(), indent=2) + "\n", encoding="utf-8")


def markdown_table() -> str:
    """The table of parameters as it stands in the README."""
    rows = ["| parameter | type | default | meaning |", "|---|---|---|---|"]
    for item in fields(JobParameters):
        default = "given by Cytomine" if item.metadata.get("set-by-server") else _default_text(item)
        rows.append(f"| `{item.name}` | {item.metadata['type']} | {default} | {item.metadata['description']} |")
    return "\n".join(rows)


def _default_text(item: Field[Any]) -> str:
    """A parameter's default as it is typed; empty where it has none."""
    return "" if item.default in (MISSING, None, ()) else str(item.default).lower()


def help_text() -> str:
    """What ``run.py --help`` shows: names as Cytomine writes them, without what only Slurm takes."""
    parser = argparse.ArgumentParser(
        prog="run.py",
        usage="run.py --NAME VALUE [--NAME VALUE ...]",
        description=DESCRIPTION,
        epilog="A parameter is empty when it is left out.",
        add_help=False,
    )
    needed = parser.add_argument_group("always needed; Cytomine gives them at launch")
    others = parser.add_argument_group("what the job is to do")
    for item in fields(JobParameters):
        if item.metadata.get("server-parameter"):
            continue
        about, default = item.metadata["description"], _default_text(item)
        about = (f"{about} (default: {default})" if default else about).replace("%", "%%")
        group = needed if item.metadata.get("set-by-server") else others
        group.add_argument(f"--{item.name}", metavar=VALUES[item.metadata["type"]], help=about)
    return parser.format_help()


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise AnnotatorError(f"{message}. run.py --help shows all parameters.", ExitCode.USAGE)


def argument_parser() -> argparse.ArgumentParser:
    """A parser whose values are still text; `parse` gives them their types."""
    parser = _Parser(prog="run.py", allow_abbrev=False, add_help=False)
    for item in fields(JobParameters):
        flags = [f"--{name}" for name in (item.name, *SYNONYMS.get(item.name, ()))]
        # The core writes values without quotes and parts the line at blanks: each comes in as many parts as it has.
        parser.add_argument(*flags, dest=item.name, nargs="+")
    return parser


def _texts(argv: Sequence[str]) -> dict[str, str]:
    """The values that were given, by name. The core of the University of Liège leaves [NAME] where there is none."""
    # parse_known_args: an image's entry point and the descriptor's command line both reach us, so there are strays.
    given, _ = argument_parser().parse_known_args(argv)
    placeholder = re.compile(r"\[[A-Z_]+\]")
    texts = {
        name: " ".join(part for part in parts if not placeholder.fullmatch(part)).strip()
        for name, parts in vars(given).items()
        if parts is not None
    }
    return {name: value for name, value in texts.items() if value}


def _typed(name: str, kind: str, whole: bool, text: str) -> Any:
    try:
        if kind == "Boolean":
            return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[text.lower()]
        if kind == "ListDomain":
            return tuple(dict.fromkeys(int(part) for part in text.split(",") if part.strip()))
        if whole:
            return int(text)
        if kind == "Number":
            return float(text)
    except (KeyError, ValueError):
        wanted = {"Boolean": "true or false", "ListDomain": "ids joined by commas", "Number": "a number"}
        raise AnnotatorError(f"--{name} is {text!r}, it must be {wanted.get(kind, 'an id')}.", ExitCode.USAGE) from None
    return text


@dataclass(frozen=True)
class Access:
    """Where the server is and who asks.

    Attributes:
        host: with or without scheme.
        public_key: names a person or a job.
        private_key: signs requests; never logged.
    """

    host: str
    public_key: str
    private_key: str


def _required(texts: dict[str, str], *names: str) -> list[str]:
    missing = [f"--{name}" for name in names if name not in texts]
    if missing:
        raise AnnotatorError(f"{', '.join(missing)} missing. Cytomine fills them at launch.", ExitCode.USAGE)
    return [texts[name] for name in names]


def parse_access(argv: Sequence[str]) -> Access:
    """The part of the command line that is needed to tell the server about everything else that is wrong.

    Raises:
        AnnotatorError: (USAGE) something is missing.
    """
    names = ("cytomine_host", "cytomine_public_key", "cytomine_private_key")
    access = Access(*_required(_texts(argv), *names))
    for name, key in zip(names[1:], (access.public_key, access.private_key), strict=True):
        if not re.fullmatch(r"[!-~]+", key):  # such a key could not even be sent
            raise AnnotatorError(f"--{name} has characters that no key has. Copy the key again.", ExitCode.USAGE)
    return access


def parse(argv: Sequence[str]) -> JobParameters:
    """The whole command line.

    Raises:
        AnnotatorError: (USAGE) a value is missing or wrong.
    """
    texts = _texts(argv)
    _required(texts, *(item.name for item in fields(JobParameters) if item.metadata.get("set-by-server")))
    # Cytomine knows only Number: whether a number is whole stands in the field's annotation.
    types = {item.name: (item.metadata["type"], str(item.type).startswith("int")) for item in fields(JobParameters)}
    parameters = JobParameters(**{name: _typed(name, *types[name], text) for name, text in texts.items()})
    if parameters.threshold is not None and not 0 <= parameters.threshold <= 1:
        raise AnnotatorError(f"--threshold is {parameters.threshold:g}, it must lie between 0 and 1.", ExitCode.USAGE)
    for name in ("max_detections", "max_training_images"):
        if (value := getattr(parameters, name)) < 1:
            raise AnnotatorError(f"--{name} is {value}, it must be at least 1.", ExitCode.USAGE)
    if parameters.longest_side < LONGEST_SIDE:
        raise AnnotatorError(
            f"--longest_side is {parameters.longest_side}, it must be at least {LONGEST_SIDE}.", ExitCode.USAGE
        )
    choices: dict[str, tuple[object, ...]] = {
        "mode": MODES,
        "cytomine_reviewed": (0, 1, 2),
        "backbone": (None, *BACKBONES),
        "style_augment": (None, *STYLES),
    }
    for name, allowed in choices.items():
        if (value := getattr(parameters, name)) not in allowed:
            names = ", ".join(str(item) for item in allowed if item is not None)
            raise AnnotatorError(f"--{name} is {value!r}, it must be one of {names}.", ExitCode.USAGE)
    return parameters
