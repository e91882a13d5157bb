"""``python -m training COMMAND``: what researchers use without a Cytomine."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from annotator.errors import ExitCode, exit_code
from annotator.parameters import BACKBONES
from training.style import command as style_command

FORMATS = ("folder", "mimo", "openimages", "minerva", "coco")
FORMAT_HELP = "how the folder is laid out (default: coco where there is an annotations.json, else folder)"
RESUMED = ("photographs", "artworks", "adversarial", "gatys", "train-fast", "stylise")  # go on where they were stopped


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training", description="Make models that find and name musical instruments."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    photographs = commands.add_parser(
        "photographs",
        help="learn to name instruments from photographs, one instrument each",
        description="Learn to name instruments from photographs that show one each: class folders, or labels.csv with "
        "the columns file, label and, where known, mimo_id and object. 70 % are learnt from, 10 % choose, 20 % judge; "
        "views of one object and near-duplicates stay together. The model is left in OUT/model.",
    )
    _add_stage(photographs, epochs=20)

    artworks = commands.add_parser(
        "artworks",
        help="learn to find instruments from pictures with boxes: artworks, or what compose made",
        description="Learn where instruments are, and what is none, from pictures whose instruments have boxes: COCO "
        "annotations.json (also that of compose), MINERVA or OpenImages. Every instrument of a picture must have its "
        "box, for all else is learnt as none. Start from the model of photographs. The model is left in OUT/model.",
    )
    _add_stage(artworks, epochs=10)

    adversarial = commands.add_parser(
        "adversarial",
        help="learn from labelled photographs and unlabelled artworks to go by what both share",
        description="Learn names from photographs, as the command photographs, and take unlabelled pictures as target: "
        "what tells the two apart is unlearnt (domain-adversarial training, Ganin et al. 2016). OUT/curves.png shows "
        "label loss, domain accuracy and lambda, OUT/features.png the features before and after. The model is left in "
        "OUT/model.",
    )
    _add_stage(adversarial, epochs=10)
    adversarial.add_argument(
        "--target", type=Path, required=True, help="folder of unlabelled pictures, for example artworks of a project"
    )
    adversarial.add_argument(
        "--variant",
        choices=("dann", "cdan"),
        default="cdan",
        help="what the domain head sees: the features (dann), or these with what they are taken for (cdan, default)",
    )

    compose = commands.add_parser(
        "compose",
        help="paste photographed instruments into pictures without any: boxes without labelling",
        description="Cut instruments out of photographs on plain ground and paste them, turned, recoloured and partly "
        "hidden, into pictures that show none. Writes OUT/images, OUT/annotations.json (COCO) and OUT/sheet.jpg to "
        "look at. Give the result to the command artworks.",
    )
    compose.add_argument(
        "--photographs", type=Path, action="append", required=True, help="folder, as for photographs; may be repeated"
    )
    compose.add_argument(
        "--grounds", type=Path, required=True, help="folder of pictures without instruments, the more the better"
    )
    compose.add_argument("--out", type=Path, required=True, help="folder for the pictures")
    compose.add_argument("--count", type=int, default=2000, help="how many pictures (default: 2000)")
    compose.add_argument("--format", choices=FORMATS, help=FORMAT_HELP)
    compose.add_argument(
        "--seed", type=int, default=7, help="of everything random; give that of the command photographs (default: 7)"
    )

    inspect = commands.add_parser(
        "inspect",
        help="look at labelled pictures before learning from them",
        description="Count labels, objects and boxes, find near-duplicates and pictures that cannot be read, and draw "
        "examples with their boxes. Writes OUT/labels.csv, OUT/near_duplicates.csv and OUT/sheet.jpg.",
    )
    inspect.add_argument(
        "--data", type=Path, action="append", required=True, help="folder of labelled pictures; may be repeated"
    )
    inspect.add_argument("--out", type=Path, required=True, help="folder for what is found")
    inspect.add_argument("--format", choices=FORMATS, help=FORMAT_HELP)
    inspect.add_argument("--seed", type=int, default=7, help="for the choice of examples (default: 7)")

    evaluate = commands.add_parser(
        "evaluate",
        help="judge a model on labelled pictures it has not seen",
        description="Judge a model. Class folders or labels.csv: accuracy, macro-F1, calibration. Pictures with a COCO "
        "annotations.json, MINERVA or OpenImages: average precision with the right term, its family, and any "
        "instrument at all. Writes OUT/metrics.json and pictures; every figure has a 95 % interval.",
    )
    evaluate.add_argument("--model", type=Path, help="model bundle, folder or zip (default: the built-in model)")
    evaluate.add_argument("--data", type=Path, required=True, help="folder of the pictures")
    evaluate.add_argument("--out", type=Path, required=True, help="folder for what is measured")
    evaluate.add_argument("--format", choices=FORMATS, help=FORMAT_HELP)

    style_command.add(commands, FORMATS, FORMAT_HELP)
    return parser


def _add_stage(command: argparse.ArgumentParser, epochs: int) -> None:
    """What all stages of training take."""
    command.add_argument(
        "--data", type=Path, action="append", required=True, help="folder of labelled pictures; may be repeated"
    )
    command.add_argument("--out", type=Path, required=True, help="folder of this run; started again, it goes on")
    command.add_argument(
        "--mode",
        choices=("head", "full"),
        default="head",
        help="head: train what stands on the backbone, minutes on a CPU (default); full: then all layers, wants a GPU",
    )
    command.add_argument(
        "--model", type=Path, help="model bundle to start from, folder or zip, in the place of a backbone"
    )
    command.add_argument(
        "--backbone", choices=BACKBONES, default=BACKBONES[0], help=f"network to start from (default: {BACKBONES[0]})"
    )
    command.add_argument(
        "--weights",
        default="imagenet",
        help="of the backbone: imagenet (default), random, or the file of keras.applications without top",
    )
    command.add_argument("--format", choices=FORMATS, help=FORMAT_HELP)
    command.add_argument(
        "--epochs", type=int, default=epochs, help=f"at the most, over all pictures (default: {epochs})"
    )
    command.add_argument("--seed", type=int, default=7, help="of everything random (default: 7)")


def main(argv: list[str]) -> int:
    """Run one command."""
    arguments = _parser().parse_args(argv)
    return exit_code(
        lambda: _run(arguments),
        arguments.out,
        interrupted=_stopped(arguments),
    )


def _stopped(arguments: argparse.Namespace) -> str:
    """What to say when a person stops a command."""
    resumed = getattr(arguments, "style_command", arguments.command) in RESUMED
    return "Stopped. Started again with the same arguments, it goes on." if resumed else "Stopped."


def _run(arguments: argparse.Namespace) -> int:
    # Each command imports what it needs when it runs: some take seconds to load.
    if arguments.command in ("photographs", "artworks", "adversarial"):
        from training import adapt, artworks, photographs, runs

        settings = runs.Settings(
            data=tuple(str(folder) for folder in arguments.data),
            format=arguments.format,
            mode=arguments.mode,
            backbone=arguments.backbone,
            weights=arguments.weights,
            model=str(arguments.model) if arguments.model else None,
            epochs=arguments.epochs,
            seed=arguments.seed,
        )
        if arguments.command == "photographs":
            photographs.run(settings, arguments.out)
        elif arguments.command == "artworks":
            artworks.run(settings, arguments.out)
        else:
            adapt.run(
                adapt.AdversarialSettings(**vars(settings), target=str(arguments.target), variant=arguments.variant),
                arguments.out,
            )
    elif arguments.command == "compose":
        from training import compose

        compose.run(
            arguments.photographs,
            arguments.grounds,
            arguments.out,
            arguments.count,
            arguments.format,
            arguments.seed,
        )
    elif arguments.command == "inspect":
        from training import inspect

        inspect.run(arguments.data, arguments.format, arguments.out, arguments.seed)
    elif arguments.command == "evaluate":
        from training import evaluate

        evaluate.run(arguments.model, arguments.data, arguments.format, arguments.out)
    elif arguments.command == "style":
        style_command.run(arguments)
    return ExitCode.OK


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
