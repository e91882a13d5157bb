"""Look at images on the workers of a Dask cluster: a local one, a Slurm cluster through dask-jobqueue, Kubernetes.

Only pixels go there and only detections come back. Fetching, uploading and writing down what is done stay in the job's
process: so the keys never leave it, the server is asked no more at a time than by a job without a cluster, and a task
that runs twice, because a worker was lost, changes nothing.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from annotator.errors import AnnotatorError, ExitCode

if TYPE_CHECKING:
    from annotator.detection import Examination
    from annotator.models.bundle import Model

Look = Callable[..., "Examination"]

SECONDS_TO_CONNECT = 20.0  # to the scheduler
SECONDS_TO_WAIT_FOR_WORKERS = 120.0  # a batch system may just be starting them
TASKS_A_THREAD = 2  # one at work, one on its way


def here(model: Model) -> tuple[Look, int]:
    """What `workers` gives, for this process alone; its function also takes ``finer`` as `examine` does."""
    from annotator.detection import examine

    return partial(examine, model), 1


def _on_worker(name: str, pixels: np.ndarray, thresholds: np.ndarray | float, most: int) -> Examination:
    from distributed import get_worker

    from annotator.detection import examine

    return examine(get_worker().plugins[name].model, pixels, thresholds, most)


def packed(model: Model) -> bytes:
    """A model as the bytes of a zipped bundle."""
    from annotator.models import bundle

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.zip"
        bundle.save(model, path)
        return path.read_bytes()


def unpacked(content: bytes) -> Model:
    """The model of `packed` bytes."""
    from annotator.models import bundle

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.zip"
        path.write_bytes(content)
        return bundle.load(path)


@contextmanager
def workers(address: str, model: Model, name: str) -> Iterator[tuple[Look, int]]:
    """The workers of a cluster, each with the model.

    Args:
        address: of the scheduler, such as tcp://head:8786.
        model: sent once to each worker, also to those that join later.
        name: of this job, no other's on the cluster.

    Yields:
        A function that does on some worker what `annotator.detection.examine` does here, and in how many threads to
        call it so that all workers are busy. It raises an AnnotatorError: (BAD_IMAGE) several workers died of the
        picture, (CONNECTION) the cluster is gone.

    Raises:
        AnnotatorError: (USAGE) there is no such scheduler, it has no workers, or they cannot run this program.
    """
    try:
        from distributed import Client, KilledWorker, WorkerPlugin
    except ImportError:
        raise AnnotatorError(
            "--scheduler needs the package distributed: install requirements-cluster.lock.", ExitCode.USAGE
        ) from None

    class Holder(WorkerPlugin):
        """Holds the model on a worker. Local, so that it travels by value."""

        def __init__(self, content: bytes) -> None:
            self.content = content

        def setup(self, worker: Any) -> None:
            from annotator.cluster import unpacked

            self.model = unpacked(self.content)

    try:
        client = Client(address, timeout=SECONDS_TO_CONNECT, set_as_default=False)
    except (OSError, ValueError) as error:
        raise AnnotatorError(
            f"No Dask scheduler answers at {address!r} ({error}). Start one with: dask scheduler", ExitCode.USAGE
        ) from error
    with client:
        try:
            client.wait_for_workers(1, timeout=SECONDS_TO_WAIT_FOR_WORKERS)
        except TimeoutError:
            raise AnnotatorError(
                f"The Dask scheduler at {address} has no workers. Start some with: dask worker {address} --nthreads 1",
                ExitCode.USAGE,
            ) from None
        try:
            client.register_plugin(Holder(packed(model)), name=name)
        except Exception as error:  # whatever it is that a machine we do not know lacks
            raise AnnotatorError(
                f"The workers of {address} cannot load the model ({type(error).__name__}: {error}). "
                "Start them in the same image as the job.",
                ExitCode.USAGE,
            ) from error

        def look(pixels: np.ndarray, thresholds: np.ndarray | float, most: int) -> Examination:
            try:
                future = client.submit(_on_worker, name, pixels, thresholds, most, pure=False)
                found: Examination = future.result()
            except KilledWorker:
                raise AnnotatorError(
                    "every worker that looked at it died. Give the workers more memory.", ExitCode.BAD_IMAGE
                ) from None
            except (OSError, CancelledError) as error:
                raise AnnotatorError(
                    f"The Dask scheduler at {address} is gone ({type(error).__name__}). Start it again, with workers.",
                    ExitCode.CONNECTION,
                ) from error
            return found

        try:
            yield look, TASKS_A_THREAD * sum(client.nthreads().values())
        finally:
            with suppress(OSError):  # a scheduler that is gone: what went wrong before is told
                client.unregister_worker_plugin(name)
