"""Where the embedded server keeps its objects: one SQLite file, one row an object, its fields as JSON.

Objects are plain dictionaries, named by kind ("project", "annotation", ...) and by one number that is unique over all
kinds, as Cytomine's are.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

Object = dict[str, Any]

SCHEMA = """
PRAGMA journal_mode = WAL;
CREATE TABLE IF NOT EXISTS object (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS object_kind ON object (kind);
CREATE INDEX IF NOT EXISTS object_image ON object (kind, json_extract(body, '$.image'));
CREATE INDEX IF NOT EXISTS object_project ON object (kind, json_extract(body, '$.project'));
CREATE INDEX IF NOT EXISTS object_annotation ON object (kind, json_extract(body, '$.annotation'));
CREATE INDEX IF NOT EXISTS object_owner ON object (kind, json_extract(body, '$.domainIdent'));
"""


def now() -> int:
    """Milliseconds since the epoch, as Cytomine counts time."""
    return int(time.time() * 1000)


class Store:
    """The objects of one server. Safe to use from several threads and processes at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()  # flask looks for relative paths in its own folder
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "files").mkdir(exist_ok=True)
        (folder / "cytomine.sqlite").touch(mode=0o600)  # it holds private keys
        self._threads = threading.local()
        self._database.executescript(SCHEMA)

    @property
    def _database(self) -> sqlite3.Connection:
        if not hasattr(self._threads, "database"):
            path = self.folder / "cytomine.sqlite"
            self._threads.database = sqlite3.connect(path, timeout=30, isolation_level=None)
        return self._threads.database

    def add(self, kind: str, **fields: Any) -> Object:
        """Store a new object; what comes back has its id and the time of its creation."""
        body = {"created": now()} | fields
        cursor = self._database.execute("INSERT INTO object (kind, body) VALUES (?, ?)", (kind, json.dumps(body)))
        return {"id": cursor.lastrowid} | body

    def get(self, kind: str, number: int) -> Object | None:
        """The object of that kind and number, or None."""
        row = self._database.execute("SELECT body FROM object WHERE kind = ? AND id = ?", (kind, number)).fetchone()
        return {"id": number} | json.loads(row[0]) if row else None

    def update(self, kind: str, number: int, **fields: Any) -> Object:
        """Change some fields of an object, at once for all other threads."""
        database = self._database
        database.execute("BEGIN IMMEDIATE")
        try:
            row = database.execute("SELECT body FROM object WHERE kind = ? AND id = ?", (kind, number)).fetchone()
            body = json.loads(row[0]) | fields | {"updated": now()}
            database.execute("UPDATE object SET body = ? WHERE id = ?", (json.dumps(body), number))
        finally:
            database.execute("COMMIT")
        return {"id": number} | body

    def remove(self, kind: str, number: int) -> None:
        """Forget an object."""
        self._database.execute("DELETE FROM object WHERE kind = ? AND id = ?", (kind, number))

    def find(self, kind: str, **equal: Any) -> list[Object]:
        """All objects of a kind whose fields have the given values, oldest first."""
        conditions = "".join(f" AND json_extract(body, '$.{field}') IS ?" for field in equal)
        rows = self._database.execute(
            f"SELECT id, body FROM object WHERE kind = ?{conditions} ORDER BY id",
            (kind, *equal.values()),
        )
        return [{"id": number} | json.loads(body) for number, body in rows]

    def add_file(self, content: bytes) -> str:
        """Keep a file's bytes; the name that comes back is ours, whatever the sender called it."""
        name = secrets.token_hex(16)
        (self.folder / "files" / name).write_bytes(content)
        return name

    def file(self, name: str) -> Path:
        """Where the bytes of a kept file lie."""
        return self.folder / "files" / name
