"""`python -m training` as tests run it: in this process, in one of its own, or killed on the way."""

import contextlib
import io
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

from training.__main__ import main

ROOT = Path(__file__).parents[2]


def run_here(*arguments):
    """In this process: none has to start and load TensorFlow."""
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as error:
        code = main([str(argument) for argument in arguments])
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), error.getvalue())


def run(*arguments, program=("-m", "training")):
    """In a process of its own, as a person runs it."""
    command = [sys.executable, *program, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280)


def kill_after(path, *arguments):
    """Kill a run as soon as `path` is there."""
    command = [sys.executable, "-m", "training", *map(str, arguments)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        deadline = time.monotonic() + 280
        while not path.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        process.kill()
        assert path.exists(), process.communicate()[0]


def full_from_head(head_run, out, **settings):
    """A folder in which mode full goes on from what a run in mode head has computed in the same way."""
    shutil.copytree(head_run, out, ignore=shutil.ignore_patterns("model", "metrics.json"))
    path = out / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"mode": "full"} | settings, indent=1))
