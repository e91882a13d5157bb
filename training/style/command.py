"""``python -m training style COMMAND``: its arguments, and what each command calls."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

NETWORKS = ("efficientnet-lite0", "vgg16", "vgg19")


def add(commands: Any) -> None:
    """Add the command ``style`` to those of ``python -m training``."""
    style = commands.add_parser("style", help="styles of a collection; photographs restyled to learn from")
    own = style.add_subparsers(dest="style_command", required=True, metavar="COMMAND")

    cluster = own.add_parser(
        "cluster",
        help="which styles a collection has, and the picture that stands for each",
        description="Group the pictures of a folder by style. Writes OUT/clusters.csv (file, cluster, is_medoid; noise "
        "is -1) and OUT/index.html to look at.",
    )
    cluster.add_argument("--images", type=Path, required=True, help="folder of pictures, at any depth")
    cluster.add_argument("--out", type=Path, required=True, help="folder for what is written")
    cluster.add_argument(
        "--noise",
        type=float,
        default=0.1,
        help="share of the pictures that may be of no common style; more gives smaller, purer styles (default: 0.1)",
    )
    _add_network(cluster, "efficientnet-lite0")


def _add_network(command: argparse.ArgumentParser, default: str) -> None:
    command.add_argument(
        "--network", choices=NETWORKS, default=default, help=f"that style is read from (default: {default})"
    )
    command.add_argument(
        "--weights", default="imagenet", help="of the network: imagenet (default), random, or a file without top"
    )


def run(arguments: argparse.Namespace) -> None:
    """Run one of the commands of ``style``."""
    if arguments.style_command == "cluster":
        from training.style import clusters

        clusters.run(arguments.images, arguments.out, arguments.network, arguments.weights, arguments.noise)
