"""``python -m annotator COMMAND``: the demo, explanations, a project's images, the embedded server, the descriptor."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from annotator.errors import exit_code
from annotator.parameters import LONGEST_SIDE, write_descriptor


def main(argv: list[str]) -> int:
    """Run one command."""
    parser = argparse.ArgumentParser(prog="python -m annotator", description="Find musical instruments in artworks.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    serve = commands.add_parser(
        "serve",
        help="run a small Cytomine-compatible server on this machine",
        description="Run a small Cytomine-compatible server until Ctrl-C. Prints the arguments that run.py needs; with "
        "--images all but --create_terms true, for the ontology of the new project is empty.",
    )
    serve.add_argument("--data", type=Path, required=True, help="folder of its database and files")
    serve.add_argument("--port", type=int, default=0, help="of this machine (default: any free one)")
    serve.add_argument("--images", type=Path, help="folder of pictures for a new project with this app installed")
    serve.add_argument("--faults", action="store_true", help="let whoever asks make it fail, for tests")
    demo = commands.add_parser(
        "demo",
        help="annotate pictures on an embedded server and write a page",
        description="Run the real job over HTTP against a small server on this machine. Writes OUT/report.html to look "
        "at and OUT/detections.json (COCO).",
        epilog="What the job is to do may follow, for example --threshold 0.3; see python run.py --help.",
    )
    demo.add_argument("--images", type=Path, help="folder of pictures (default: a gallery drawn for the demo)")
    demo.add_argument(
        "--out", type=Path, default=Path("out/demo"), help="folder for what is written (default: out/demo)"
    )
    demo.add_argument("--model", type=Path, help="model bundle, folder or zip (default: the built-in model)")
    explain = commands.add_parser(
        "explain",
        help="show what in pictures speaks for an instrument, as masks and on a page",
        description="Show where the network looks and what speaks for an instrument. Writes "
        "OUT/masks/STEM.visualbackprop.png (where the network looks), OUT/masks/STEM.class.png (what speaks for the "
        "best detection's instrument, or the likeliest), both 8-bit grey and of the picture's own size after its EXIF "
        "orientation, and OUT/index.html. STEM is the file's name without suffix, or with it where files would share "
        "it.",
    )
    explain.add_argument("--images", type=Path, required=True, help="folder of pictures")
    explain.add_argument("--out", type=Path, required=True, help="folder for what is written")
    explain.add_argument("--model", type=Path, help="model bundle, folder or zip (default: the built-in model)")
    explain.add_argument(
        "--check",
        action="store_true",
        help="also measure on up to 12 of the pictures how far the maps can be trusted; half a minute a picture",
    )
    undo = commands.add_parser(
        "undo",
        help="delete what a job drew, except what people have reviewed",
        description="Delete a job's annotations, except those that people have reviewed, and forget which images it "
        "has done: resumed, it does them again.",
    )
    undo.add_argument("--job", type=int, metavar="ID", required=True, help="id of the job")
    _add_access(undo, "of who launched the job")
    fetch = commands.add_parser(
        "fetch",
        help="fetch a project's images into a folder, for python -m training",
        description=f"Fetch each image of a project as a JPEG file, at most {LONGEST_SIDE} pixels on its longest side. "
        "Started again, it goes on.",
    )
    _add_access(fetch, "of a person who may see the project")
    fetch.add_argument("--cytomine_id_project", type=int, metavar="ID", required=True, help="id of the project")
    fetch.add_argument("--out", type=Path, required=True, help="folder for the pictures")
    about = "write descriptor.json from the table of parameters"
    descriptor = commands.add_parser("descriptor", help=about, description=f"{about.capitalize()}.")
    descriptor.add_argument("--out", type=Path, default=Path("descriptor.json"), help="file (default: descriptor.json)")
    arguments, rest = parser.parse_known_args(argv)
    if rest and arguments.command != "demo":
        parser.error(f"unknown arguments: {' '.join(rest)}")
    place = arguments.data if arguments.command == "serve" else getattr(arguments, "out", Path())  # undo writes nothing
    return exit_code(lambda: _run(arguments, rest), place)


def _add_access(command: argparse.ArgumentParser, whose: str) -> None:
    """What a command takes that speaks with a Cytomine server."""
    command.add_argument("--cytomine_host", metavar="ADDRESS", required=True, help="address of the Cytomine server")
    command.add_argument("--cytomine_public_key", metavar="KEY", required=True, help=f"public key {whose}")
    command.add_argument("--cytomine_private_key", metavar="KEY", required=True, help="private key that belongs to it")


def _run(arguments: argparse.Namespace, rest: list[str]) -> int:
    # Each command imports what it needs when it runs: some take seconds to load.
    if arguments.command == "serve":
        from annotator.embedded.process import serve as run_server

        run_server(arguments.data, arguments.port, arguments.images, arguments.faults)
    elif arguments.command == "demo":
        from annotator.demo import demo

        return demo(arguments.images, arguments.out, arguments.model, rest)
    elif arguments.command == "explain":
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's own log is not for people
        from annotator import explain_pictures

        explain_pictures.run(arguments.images, arguments.out, arguments.model, arguments.check)
    elif arguments.command == "undo":
        from annotator.platform.connection import Connection
        from annotator.undo import undo

        access = (arguments.cytomine_host, arguments.cytomine_public_key, arguments.cytomine_private_key)
        print(undo(Connection(*access), arguments.job))
    elif arguments.command == "fetch":
        from annotator.fetch import fetch
        from annotator.platform.connection import Connection

        access = (arguments.cytomine_host, arguments.cytomine_public_key, arguments.cytomine_private_key)
        print(fetch(Connection(*access), arguments.cytomine_id_project, arguments.out))
    elif arguments.command == "descriptor":
        write_descriptor(arguments.out)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
