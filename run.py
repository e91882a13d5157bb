"""The job's entry: what the container starts, ``python run.py --cytomine_host ...``."""

import logging
import os
import signal
import sys


def main(argv: list[str]) -> int:
    """Carry out one job; the exit code is one of `annotator.errors.ExitCode`."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's own log is not for curators
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stdout)
    # Slurm ends a job with SIGTERM; treat it as Ctrl-C, so that the job's status is set before we go.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    from annotator.parameters import argument_parser

    if "--help" in argv:
        argument_parser().print_help()
        return 0
    from annotator.job import run

    return int(run(argv))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
