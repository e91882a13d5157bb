"""``python -m annotator COMMAND``: the demo, the embedded server, the descriptor."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from annotator.parameters import write_descriptor


def main(argv: list[str]) -> int:
    """Run one command."""
    parser = argparse.ArgumentParser(prog="python -m annotator", description="Find musical instruments in artworks.")
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("serve", help="run a small Cytomine-compatible server on this machine")
    serve.add_argument("--data", type=Path, required=True, help="folder of its database and files")
    serve.add_argument("--port", type=int, default=0, help="default: any free one")
    serve.add_argument("--faults", action="store_true", help="let tests ask for failures")
    descriptor = commands.add_parser("descriptor", help="write descriptor.json from the table of parameters")
    descriptor.add_argument("--out", type=Path, default=Path("descriptor.json"))
    arguments = parser.parse_args(argv)
    if arguments.command == "serve":
        from annotator.embedded.process import serve as run_server

        run_server(arguments.data, arguments.port, arguments.faults)
    elif arguments.command == "descriptor":
        write_descriptor(arguments.out)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
