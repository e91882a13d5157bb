"""The job on a Dask cluster: scheduler and workers in processes of their own, started as a person starts them."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import numpy as np
import pytest
from dask import config

from annotator import cluster as cluster_module
from annotator import job as job_module
from annotator.cluster import packed, unpacked, workers
from annotator.errors import AnnotatorError, ExitCode

NAMES = ("harp_in_oil.png", "empty_room.png", "violin_in_oil.png", "duo_in_oil.png")


@contextmanager
def dask(*arguments):
    command = [sys.executable, "-m", "dask", *map(str, arguments)]
    environment = os.environ | {"TF_NUM_INTRAOP_THREADS": "1", "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1"}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory):
    file = tmp_path_factory.mktemp("dask") / "scheduler.json"
    with dask("scheduler", "--host", "127.0.0.1", "--port", 0, "--no-dashboard", "--scheduler-file", file):
        yield address_in(file)


def address_in(file):
    deadline = time.monotonic() + 60
    while not (file.exists() and file.read_text().endswith("}")) and time.monotonic() < deadline:
        time.sleep(0.1)
    return json.loads(file.read_text())["address"]


def worker(address, folder):
    """Without a nanny: when it is killed it stays dead."""
    return dask("worker", address, "--nthreads", 1, "--no-dashboard", "--no-nanny", "--local-directory", folder)


@pytest.fixture
def painted(project, small):
    for name in NAMES:
        project.add_image(small / name)
    return project


def drawn(project, job):
    user = project.server.store.get("job", job)["userJob"]
    return sorted((item["image"], item["location"]) for item in project.annotations() if item["user"] == user)


def test_a_lost_worker_loses_nothing_and_doubles_nothing(painted, small, scheduler, tmp_path):
    for name in NAMES * 4:
        painted.add_image(small / name)
    alone, together = painted.launch(), painted.launch()
    assert job_module.run(alone.arguments) is ExitCode.OK
    codes = []
    with worker(scheduler, tmp_path), worker(scheduler, tmp_path) as lost:
        running = threading.Thread(target=lambda: codes.append(job_module.run(together.arguments, scheduler)))
        running.start()
        while not drawn(painted, together.job):
            time.sleep(0.01)
        os.killpg(lost.pid, signal.SIGKILL)
        running.join(200)
    assert codes == [ExitCode.OK]
    assert drawn(painted, together.job) == drawn(painted, alone.job) != []


def test_a_picture_that_workers_die_of_does_not_stop_the_others(builtin_model, scheduler, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster_module, "_on_worker", dying_of_black)
    started_again = dask("worker", scheduler, "--nthreads", 1, "--no-dashboard", "--local-directory", tmp_path)
    with started_again, workers(scheduler, builtin_model, "job-1") as (look, at_once):
        assert at_once == cluster_module.TASKS_A_THREAD
        with pytest.raises(AnnotatorError, match="every worker that looked at it died") as caught:
            look(np.zeros((64, 64, 3), np.uint8), 0.5, 10)
        assert caught.value.code is ExitCode.BAD_IMAGE
        assert len(look(np.full((64, 64, 3), 128, np.uint8), 0.9, 10).detections) == 0


def dying_of_black(name, pixels, thresholds, most):
    from annotator.cluster import _on_worker

    if not pixels.any():
        os._exit(9)
    return _on_worker(name, pixels, thresholds, most)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("tcp://127.0.0.1:9", "No Dask scheduler answers at 'tcp://127.0.0.1:9'"),
        ("nonsense://x", "No Dask scheduler answers at 'nonsense://x'"),
        (None, "has no workers. Start some with: dask worker tcp://"),
    ],
)
def test_a_cluster_that_is_none_says_so(painted, scheduler, monkeypatch, no_pauses, address, message):
    monkeypatch.setattr(cluster_module, "SECONDS_TO_CONNECT", 1)
    monkeypatch.setattr(cluster_module, "SECONDS_TO_WAIT_FOR_WORKERS", 1)
    launched = painted.launch()
    assert job_module.run(launched.arguments, address or scheduler) is ExitCode.USAGE
    assert message in painted.server.store.get("job", launched.job)["statusComment"]


def test_a_packed_model_is_the_same(builtin_model):
    there = unpacked(packed(builtin_model))
    assert there.configuration == builtin_model.configuration
    for own, other in zip(builtin_model.network.weights, there.network.weights, strict=True):
        assert np.array_equal(own, other)


@pytest.mark.timeout(300)
def test_a_scheduler_that_is_gone_is_told(project, small, tmp_path):
    file = tmp_path / "scheduler.json"
    with dask("scheduler", "--host", "127.0.0.1", "--port", 0, "--no-dashboard", "--scheduler-file", file) as process:
        address = address_in(file)
        with worker(address, tmp_path):
            for _ in range(12):
                for name in NAMES:
                    project.add_image(small / name)
            launched = project.launch()
            codes = []
            job = threading.Thread(target=lambda: codes.append(job_module.run(launched.arguments, address)))
            with config.set({"distributed.comm.timeouts.connect": "2s"}):  # Dask's own wait is 30 s
                job.start()
                while not project.annotations():
                    time.sleep(0.02)
                os.killpg(process.pid, signal.SIGKILL)
                job.join()
    assert codes == [ExitCode.CONNECTION]
    comment = project.server.store.get("job", launched.job)["statusComment"]
    assert re.match(rf"The Dask scheduler at {address} is gone", comment), comment
