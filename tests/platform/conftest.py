"""What the tests of the platform share."""

import pytest

from annotator.platform.connection import Connection


@pytest.fixture
def connection(server, project):
    """As a job that was launched from Cytomine's page."""
    arguments = project.launch().arguments
    keys = [arguments[arguments.index(f"--cytomine_{kind}_key") + 1] for kind in ("public", "private")]
    return Connection(server.access.host, *keys)
