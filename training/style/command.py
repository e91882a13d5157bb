"""``python -m training style COMMAND``: its arguments, and what each command calls."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

NETWORKS = ("efficientnet-lite0", "vgg16", "vgg19")
STYLE, VARIATION = 5.0, 1.0  # weights of style and smoothness, where content has 1


def add(commands: Any, formats: Sequence[str], format_help: str) -> None:
    """Add the command ``style`` to those of ``python -m training``."""
    about = "styles of a collection; photographs restyled to learn from"
    style = commands.add_parser("style", help=about, description=f"{about.capitalize()}.")
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

    gatys = own.add_parser(
        "gatys",
        help="one picture in the style of another, slowly and well",
        description="Change a picture until a network sees the content of one and the style of the other (Gatys et al. "
        "2015). Writes OUT/picture.png, a picture every 50 steps, OUT/log.csv and OUT/loss.png. Stopped and started "
        "again, it goes on.",
    )
    gatys.add_argument("--content", type=Path, required=True, help="picture whose content is kept")
    gatys.add_argument("--style", type=Path, required=True, help="picture whose style is taken")
    gatys.add_argument("--out", type=Path, required=True, help="folder of this transfer")
    gatys.add_argument("--size", type=int, default=512, help="longest side of the result in pixels (default: 512)")
    gatys.add_argument("--steps", type=int, default=200, help="steps at each of up to three sizes (default: 200)")
    gatys.add_argument(
        "--start", choices=("content", "noise"), default="content", help="first picture (default: content)"
    )
    _add_weights(gatys)
    gatys.add_argument("--seed", type=int, default=7, help="of the noise (default: 7)")
    _add_network(gatys, "vgg19")

    fast = own.add_parser(
        "train-fast",
        help="a network that restyles any picture in one pass, in one style",
        description="Train a network that gives any picture one style (Johnson et al. 2016). Leaves it in OUT, with "
        "the curve of the loss and OUT/sheet.jpg to look at. Stopped and started again, it goes on.",
    )
    fast.add_argument(
        "--images", type=Path, required=True, help="folder of any pictures to learn on, the more the better"
    )
    fast.add_argument("--style", type=Path, required=True, help="picture whose style is learnt")
    fast.add_argument("--out", type=Path, required=True, help="folder of this training")
    fast.add_argument("--size", type=int, default=256, help="side of what is learnt on, in pixels (default: 256)")
    fast.add_argument("--batches", type=int, default=10000, help="batches of 4 pictures to learn on (default: 10000)")
    _add_weights(fast)
    fast.add_argument("--seed", type=int, default=7, help="of everything random (default: 7)")
    _add_network(fast, "vgg16")

    apply = own.add_parser(
        "apply",
        help="restyle a folder of pictures with the network of a train-fast",
        description="Restyle all pictures of a folder, at any depth, into OUT, as JPEG files under their names.",
    )
    apply.add_argument("--network", type=Path, required=True, help="folder of the train-fast")
    apply.add_argument("--images", type=Path, required=True, help="folder of pictures, at any depth")
    apply.add_argument("--out", type=Path, required=True, help="folder for the restyled pictures")
    apply.add_argument("--size", type=int, default=1024, help="longest side at the most, in pixels (default: 1024)")

    stylise = own.add_parser(
        "stylise",
        help="restyled copies of labelled pictures, to learn from besides the pictures themselves",
        description="Restyle those of labelled pictures that training would learn from under the same seed, each in a "
        "style drawn at random. Writes a data set to give to training as a further --data, which stays in the split of "
        "its sources, and OUT/sheet.jpg to look at.",
    )
    stylise.add_argument("--images", type=Path, required=True, help="folder of labelled pictures")
    stylise.add_argument("--styles", type=Path, help="folder of pictures whose styles are taken; not with a train-fast")
    stylise.add_argument("--out", type=Path, required=True, help="folder for the copies")
    stylise.add_argument(
        "--with",
        dest="kind",
        metavar="KIND",
        required=True,
        help="reinhard: mean and spread of colours; fourier: coarse light and dark; arbitrary: brush strokes too; "
        "or the folder of a train-fast, in its style",
    )
    stylise.add_argument("--proportion", type=float, default=1.0, help="copies for each picture (default: 1)")
    stylise.add_argument("--format", choices=formats, help=format_help)
    stylise.add_argument(
        "--seed", type=int, default=7, help="of everything random; give that of the training (default: 7)"
    )


def _add_weights(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--style-weight", type=float, default=STYLE, help=f"of style, where content has 1 (default: {STYLE:g})"
    )
    command.add_argument(
        "--variation-weight",
        type=float,
        default=VARIATION,
        help=f"of smoothness, where content has 1 (default: {VARIATION:g})",
    )


def _add_network(command: argparse.ArgumentParser, default: str) -> None:
    command.add_argument(
        "--network", choices=NETWORKS, default=default, help=f"network that style is read from (default: {default})"
    )
    command.add_argument(
        "--weights",
        default="imagenet",
        help="of the network: imagenet (default), random, or the file of keras.applications without top",
    )


def run(arguments: argparse.Namespace) -> None:
    """Run one of the commands of ``style``."""
    if arguments.style_command == "cluster":
        from training.style import clusters

        clusters.run(arguments.images, arguments.out, arguments.network, arguments.weights, arguments.noise)
    elif arguments.style_command == "gatys":
        from training.style import gatys

        settings = gatys.Settings(
            content=str(arguments.content),
            style=str(arguments.style),
            network=arguments.network,
            weights=arguments.weights,
            size=arguments.size,
            steps=arguments.steps,
            start=arguments.start,
            style_weight=arguments.style_weight,
            variation_weight=arguments.variation_weight,
            seed=arguments.seed,
        )
        gatys.run(settings, arguments.out)
    elif arguments.style_command == "stylise":
        from training.style import stylise

        stylise.run(
            stylise.Settings(
                images=str(arguments.images),
                format=arguments.format,
                styles=str(arguments.styles) if arguments.styles else None,
                kind=arguments.kind,
                proportion=arguments.proportion,
                seed=arguments.seed,
            ),
            arguments.out,
        )
    elif arguments.style_command == "train-fast":
        from training.style import fast

        fast.run(
            fast.Settings(
                images=str(arguments.images),
                style=str(arguments.style),
                network=arguments.network,
                weights=arguments.weights,
                size=arguments.size,
                batches=arguments.batches,
                style_weight=arguments.style_weight,
                variation_weight=arguments.variation_weight,
                seed=arguments.seed,
            ),
            arguments.out,
        )
    elif arguments.style_command == "apply":
        from training.style import fast

        fast.apply(arguments.network, arguments.images, arguments.out, arguments.size)
