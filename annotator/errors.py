"""The one kind of error that people see, and the exit codes of every command."""

import sys
from collections.abc import Callable
from enum import IntEnum, unique
from pathlib import Path

from annotator.text import printable


@unique
class ExitCode(IntEnum):
    """Exit code of ``run.py``, ``python -m annotator`` and ``python -m training``."""

    OK = 0
    INTERNAL = 1  # a defect of ours; the traceback is in the log
    USAGE = 2  # a parameter is missing or wrong (argparse's own code)
    CONNECTION = 3  # the server cannot be reached, answers nonsense, or refuses the keys
    NOT_FOUND = 4  # a project, software, image, job or term does not exist or may not be read
    BAD_IMAGE = 5  # more than half of the images failed, or none could be decoded
    BAD_MODEL = 6  # a model bundle is missing, damaged or of another version
    UPLOAD = 7  # some annotations could not be stored
    DISK = 8  # the disk is full or a folder cannot be written
    INTERRUPTED = 130  # Ctrl-C or SIGTERM


class AnnotatorError(Exception):
    """An expected failure, told in one line that names the value and the remedy.

    Args:
        message: one line for a person: what is wrong, with the value, and what to do next. Never holds a key. May quote
            what others wrote: it is made `printable`.
        code: the process's exit code.
    """

    def __init__(self, message: str, code: ExitCode) -> None:
        super().__init__(printable(message))
        self.code = code


def exit_code(command: Callable[[], int], place: Path, interrupted: str = "") -> int:
    """Run a command; tell a failure in one line on standard error.

    Args:
        command: returns its exit code.
        place: where it writes, for failures to write, which do not say where.
        interrupted: what to say when a person stops it, nothing if empty.

    Returns:
        The command's exit code, or that of its failure.
    """
    try:
        return command()
    except AnnotatorError as error:
        print(error, file=sys.stderr)
        return error.code
    except OSError as error:
        print(
            f"{error.strerror}: {error.filename or str(place)!r}. Choose another place or make room there.",
            file=sys.stderr,
        )
        return ExitCode.DISK
    except KeyboardInterrupt:
        if interrupted:
            print(interrupted, file=sys.stderr)
        return ExitCode.INTERRUPTED
