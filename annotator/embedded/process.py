"""Run the embedded server: in the foreground for people, in another process for the demo and the tests."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from waitress.server import create_server

from annotator.embedded import seed
from annotator.embedded.server import create_app
from annotator.embedded.store import Store
from annotator.errors import AnnotatorError, ExitCode
from annotator.parameters import descriptor

ACCESS = "access.json"  # in the data folder: host and keys, readable by its owner only


@dataclass(frozen=True)
class Access:
    """What a client needs to talk to a running server.

    Attributes:
        host: with scheme and port.
        public_key: of the demo user.
        private_key: of the demo user.
    """

    host: str
    public_key: str
    private_key: str


def serve(data: Path, port: int = 0, images: Path | None = None, allow_faults: bool = False) -> None:
    """Serve until interrupted.

    Prints what the job's command line needs, and writes the keys of the demo user to ``data/access.json``.

    Args:
        data: folder of the server's database and files; made, with a demo user, when it is missing.
        port: on the loopback interface, 0 for any free one.
        images: folder of pictures for a new project that has this app installed.
        allow_faults: see `create_app`.

    Raises:
        AnnotatorError: (USAGE) the port cannot be had, or there is no such folder of pictures.
    """
    store = Store(data)
    users = store.find("user", algo=False) or [seed.create_user(store, "demo")]
    app = create_app(store, allow_faults)
    try:
        server = create_server(app, host="127.0.0.1", port=port, threads=8, clear_untrusted_proxy_headers=True)
    except OSError as error:
        raise AnnotatorError(f"Port {port} cannot be had: {error}. Name another --port.", ExitCode.USAGE) from error
    access = Access(f"http://127.0.0.1:{server.effective_port}", users[0]["publicKey"], users[0]["privateKey"])  # type: ignore[union-attr]
    handle = os.open(data / ACCESS, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as file:
        json.dump(asdict(access), file)
    print(f"Cytomine-compatible server on {access.host}, data in {data}. Stop it with Ctrl-C.")
    print(f"  --cytomine_host {access.host}")
    print(f"  --cytomine_public_key {access.public_key}")
    print(f"  --cytomine_private_key {access.private_key}", flush=True)
    if images is not None:
        project = seed.create_project(store, images.name, users[0])
        seed.add_images(store, project["id"], images)
        print(f"  --cytomine_id_project {project['id']}")
        software = seed.register_software(store, descriptor(), project["id"])
        print(f"  --cytomine_id_software {software['id']}", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        server.run()


@contextlib.contextmanager
def running(data: Path, allow_faults: bool = False, port: int = 0) -> Iterator[Access]:
    """A server in a process of its own, for as long as the block lasts.

    Args:
        data: folder of the server's database and files.
        allow_faults: see `create_app`.
        port: on the loopback interface, 0 for any free one.
    """
    data = data.resolve()  # the other process runs in another folder
    command = [sys.executable, "-m", "annotator", "serve", "--data", str(data), "--port", str(port)]
    command += ["--faults"] if allow_faults else []
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])
    try:
        if process.stdout is None:
            raise RuntimeError("the embedded server has no output")
        printed = [process.stdout.readline() for _ in range(4)]  # it listens before it prints
        if not printed[-1]:
            raise RuntimeError(f"the embedded server did not start: {''.join(printed)}")
        yield Access(**json.loads((data / ACCESS).read_text()))
    finally:
        process.terminate()
        process.wait(10)
        if process.stdout is not None:
            process.stdout.close()
