"""The one kind of error that people see, and the exit codes of every command."""

from enum import IntEnum, unique


@unique
class ExitCode(IntEnum):
    """Exit code of ``run.py`` and ``python -m annotator``."""

    OK = 0
    INTERNAL = 1  # a defect of ours; the traceback is in the log
    USAGE = 2  # a parameter is missing or wrong (argparse's own code)
    CONNECTION = 3  # the server cannot be reached, answers nonsense, or refuses the keys
    NOT_FOUND = 4  # a project, software, image, job or term does not exist or may not be read
    BAD_IMAGE = 5  # no image could be fetched or decoded
    BAD_MODEL = 6  # a model bundle is missing, damaged or of another version
    UPLOAD = 7  # some annotations could not be stored
    DISK = 8  # the disk is full or a folder cannot be written
    INTERRUPTED = 130  # Ctrl-C or SIGTERM


class AnnotatorError(Exception):
    """An expected failure, told in one line that names the value and the remedy.

    Args:
        message: one line for a person: what is wrong, with the value, and what to do next. Never holds a key.
        code: the process's exit code.
    """

    def __init__(self, message: str, code: ExitCode) -> None:
        super().__init__(message)
        self.code = code
