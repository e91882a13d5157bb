"""The same collection on a Dask cluster of this machine: one worker, two, and two of which one is killed."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.batch import IMAGES, collection, outlines, whole_job


def run() -> dict[str, object]:
    """Images a second without and with a cluster, all in this run, and whether all drew the same."""
    with collection() as given, tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        file = Path(name) / "scheduler.json"
        stack.enter_context(_dask("scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(file)))
        while not file.exists():
            time.sleep(0.1)
        address = json.loads(file.read_text())["address"]
        worker = ("worker", address, "--nthreads", "1", "--no-nanny", "--local-directory", name)

        def pace(*more: str) -> tuple[float, dict[int, list[str]]]:
            job, arguments = given.launch()
            found, _ = whole_job([*arguments, *more])
            return found, outlines(given.store, job)

        plain, drawn = pace()
        with _dask(*worker):
            one, by_one = pace("--scheduler", address)
            with _dask(*worker):
                two, by_two = pace("--scheduler", address)
            with _dask(*worker) as lost:
                before = len(given.store.find("annotation", project=given.project))
                half = before + sum(map(len, drawn.values())) // 2

                def kill() -> None:
                    while len(given.store.find("annotation", project=given.project)) < half:
                        time.sleep(1)
                    os.killpg(lost.pid, signal.SIGKILL)

                killer = threading.Thread(target=kill)
                killer.start()
                with_a_loss, by_the_rest = pace("--scheduler", address)
                killer.join()
        return {
            "images": IMAGES,
            "images_a_second": {"plain": plain, "one": one, "two": two, "two_of_which_one_is_killed": with_a_loss},
            "one_worker_over_plain": round(one / plain, 2),
            "all_drew_the_same": drawn == by_one == by_two == by_the_rest,
        }


@contextmanager
def _dask(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "dask", *arguments, "--no-dashboard"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
