"""What the service remembers: documents in one SQLite file, safe against a kill at any moment.

A document is a JSON object shaped like the answer of its Describe operation; members whose names begin with `_` are
the service's own and never leave it (answers are cut to their shape). Times are epoch seconds.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sagemaker_local import __version__
from sagemaker_local.errors import StartError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Document = dict[str, Any]

FORMAT = 1
"""What lies in the data folder, and how; kept as the file's `user_version`. Whoever changes it raises this number and
lets :class:`Store` turn what older versions left into it.

0 is what was written before formats were numbered; it differs in nothing else. No path is stored: the folder may be
moved.
"""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS documents (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL, name TEXT NOT NULL, parent TEXT NOT NULL, body TEXT NOT NULL,
    UNIQUE (kind, name)
);
CREATE INDEX IF NOT EXISTS documents_by_parent ON documents (kind, parent);
CREATE TABLE IF NOT EXISTS tokens (scope TEXT, token TEXT, result TEXT NOT NULL, PRIMARY KEY (scope, token));
CREATE TABLE IF NOT EXISTS tags (arn TEXT, key TEXT, value TEXT NOT NULL, PRIMARY KEY (arn, key));
CREATE TABLE IF NOT EXISTS about (key TEXT PRIMARY KEY, value TEXT NOT NULL);
"""


class Store:
    """Documents by kind and name, idempotency tokens and tags. Usable from many threads.

    Making one raises a StartError for a file that this version cannot read, which is left as it is.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.RLock()
        self._depth = 0
        try:
            self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self._open()
        except (StartError, sqlite3.Error) as error:
            raise StartError(f"cannot use {path}: {error}; give another folder by --data") from error

    def _open(self) -> None:
        try:
            self._bring_up_to_date()
        except BaseException:
            self._connection.close()
            raise

    def _bring_up_to_date(self) -> None:
        [(found,)] = self._rows("PRAGMA user_version")
        if found > FORMAT:
            raise StartError(
                f"sagemaker_local {self._writer()} wrote it in format {found}, and this one, {__version__}, reads "
                f"formats up to {FORMAT}: start that version"
            )
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.executescript(_SCHEMA)
        with self.transaction():
            self._connection.execute("INSERT OR REPLACE INTO about VALUES ('written_by', ?)", (__version__,))
            self._connection.execute(f"PRAGMA user_version = {FORMAT}")

    def _writer(self) -> str:
        """The version that wrote the file, which a format to come may keep elsewhere."""
        try:
            [(version,)] = self._rows("SELECT value FROM about WHERE key = 'written_by'")
        except (sqlite3.DatabaseError, ValueError):
            return "of a newer version"
        return str(version)

    def close(self) -> None:
        """Close the file; the store is unusable afterwards."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, and nobody else in between; may be nested in one thread."""
        with self._lock:
            if self._depth:
                yield
                return
            self._depth += 1
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            else:
                self._connection.execute("COMMIT")
            finally:
                self._depth -= 1

    def get(self, kind: str, name: str) -> Document | None:
        """The document, or None."""
        rows = self._rows("SELECT body FROM documents WHERE kind = ? AND name = ?", kind, name)
        return _parsed(rows[0]) if rows else None

    def insert(self, kind: str, name: str, document: Document, *, parent: str = "") -> bool:
        """Add a document with its CreationTime and LastModifiedTime; False if the name is taken."""
        now = time.time()
        body = json.dumps({"CreationTime": now, "LastModifiedTime": now} | document)
        statement = "INSERT OR IGNORE INTO documents (kind, name, parent, body) VALUES (?, ?, ?, ?)"
        with self._lock:
            return self._connection.execute(statement, (kind, name, parent, body)).rowcount == 1

    def update(self, kind: str, name: str, changes: Document) -> Document | None:
        """Set the given members (None removes one) and LastModifiedTime; the new document, or None if it is gone."""
        with self.transaction():
            document = self.get(kind, name)
            if document is None:
                return None
            document |= {"LastModifiedTime": time.time()} | changes
            document = {key: value for key, value in document.items() if value is not None}
            statement = "UPDATE documents SET body = ? WHERE kind = ? AND name = ?"
            self._connection.execute(statement, (json.dumps(document), kind, name))
        return document

    def delete(self, kind: str, name: str) -> bool:
        """Remove a document; False if there is none."""
        with self._lock:
            statement = "DELETE FROM documents WHERE kind = ? AND name = ?"
            return self._connection.execute(statement, (kind, name)).rowcount == 1

    def documents(self, kind: str, *, parent: str | None = None) -> list[Document]:
        """The documents of a kind (of one parent), oldest first."""
        where, values = ("", (kind,)) if parent is None else (" AND parent = ?", (kind, parent))
        statement = f"SELECT body FROM documents WHERE kind = ?{where} ORDER BY number"  # noqa: S608 - fixed text
        return [_parsed(row) for row in self._rows(statement, *values)]

    def remembered(self, scope: str, token: str) -> str | None:
        """What was answered to this token before, or None. Tokens never expire."""
        rows = self._rows("SELECT result FROM tokens WHERE scope = ? AND token = ?", scope, token)
        return str(rows[0][0]) if rows else None

    def remember(self, scope: str, token: str, result: str) -> None:
        """Answer this token so from now on."""
        with self._lock:
            self._connection.execute("INSERT INTO tokens VALUES (?, ?, ?)", (scope, token, result))

    def forget(self, scope: str) -> None:
        """Drop the tokens of a scope whose thing was deleted."""
        with self._lock:
            self._connection.execute("DELETE FROM tokens WHERE scope = ?", (scope,))

    def tag(self, arn: str, tags: dict[str, str]) -> None:
        """Add tags, or replace the values of those that are there."""
        with self.transaction():
            self._connection.executemany(
                "INSERT OR REPLACE INTO tags VALUES (?, ?, ?)", [(arn, key, value) for key, value in tags.items()]
            )

    def untag(self, arn: str) -> None:
        """Drop all tags of a thing that was deleted."""
        with self._lock:
            self._connection.execute("DELETE FROM tags WHERE arn = ?", (arn,))

    def tags(self, arn: str) -> dict[str, str]:
        """The tags of a thing."""
        return dict(self._rows("SELECT key, value FROM tags WHERE arn = ? ORDER BY key", arn))

    def _rows(self, statement: str, *values: str) -> list[Any]:
        with self._lock:
            return self._connection.execute(statement, values).fetchall()


def _parsed(row: tuple[str]) -> Document:
    document: Document = json.loads(row[0])
    return document
