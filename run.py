"""The job's entry: what the container starts, ``python run.py --cytomine_host ...``."""

import argparse
import logging
import os
import signal
import sys
from typing import NoReturn


def interrupt(*_: object) -> NoReturn:
    """Stop what is going on, in an orderly way; a second signal does not disturb that."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def one_line(record: logging.LogRecord) -> bool:
    """Make a message fit for the log: names of terms and models, which others chose, may hold anything."""
    from annotator.text import printable

    record.msg, record.args = printable(record.getMessage()), ()
    return True


def main(argv: list[str]) -> int:
    """Carry out one job; the exit code is one of `annotator.errors.ExitCode`."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's own log is not for curators
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stdout)
    for handler in logging.getLogger().handlers:
        handler.addFilter(one_line)
    # Slurm ends a job with SIGTERM and kills it soon after: as after Ctrl-C, the job's status is set before we go.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, interrupt)
    from annotator.parameters import help_text

    if {"--help", "-h"}.intersection(argv):
        print(help_text())
        print("From a shell also --scheduler ADDRESS: of a Dask cluster whose workers look at the images.")
        return 0
    from annotator.errors import ExitCode
    from annotator.job import run

    extra = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    extra.add_argument("--scheduler")
    given, rest = extra.parse_known_args(argv)
    code = run(rest, given.scheduler)
    if code is ExitCode.INTERRUPTED:
        logging.shutdown()
        os._exit(code)  # at once: some thread may wait for the server still
    return int(code)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
