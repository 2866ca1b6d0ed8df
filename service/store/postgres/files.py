"""Files that came inline, in pieces in the database, so that every process can serve them."""

import hashlib
from collections.abc import AsyncIterator

from service.ports.files import Pieces
from service.store.postgres.database import PostgresDatabase
from service.store.postgres.workers import NOW

PIECE = 256 * 1024


class PostgresFiles:
    """Implements `ports.files.InlineFiles`."""

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database

    async def save(self, data: bytes, extension: str) -> str:
        name = f"{hashlib.sha256(data).hexdigest()}.{extension}"
        async with self._database.transaction() as unit:
            # If it exists already, it belongs to this task too, and is kept for as long.
            fresh = await unit.connection.fetchval(
                f"INSERT INTO inline_files (name, size, saved_at) VALUES ($1, $2, {NOW})"
                " ON CONFLICT (name) DO UPDATE SET saved_at = excluded.saved_at RETURNING xmax = 0",
                name,
                len(data),
            )
            if fresh:
                for piece, start in enumerate(range(0, len(data), PIECE)):
                    await unit.connection.execute(
                        "INSERT INTO inline_pieces (name, piece, data) VALUES ($1, $2, $3)",
                        name,
                        piece,
                        data[start : start + PIECE],
                    )
        return name

    async def find(self, name: str) -> Pieces | None:
        # With its first piece, which for most is all: the file may be removed before it is read.
        rows = await self._database.rows(
            "SELECT f.size, p.data FROM inline_files f LEFT JOIN inline_pieces p ON p.name = f.name AND p.piece = 0"
            " WHERE f.name = $1",
            name,
        )
        return Pieces(rows[0]["size"], lambda: self._read(name, rows[0]["data"] or b"")) if rows else None

    async def _read(self, name: str, first: bytes) -> AsyncIterator[bytes]:
        """One query per piece, so that a slow reader holds no connection."""
        yield first
        piece = 1
        while rows := await self._database.rows(
            "SELECT data FROM inline_pieces WHERE name = $1 AND piece = $2", name, piece
        ):
            yield rows[0]["data"]
            piece += 1

    async def remove(self, name: str) -> None:
        await self._database.rows("DELETE FROM inline_files WHERE name = $1", name)

    async def remove_older(self, seconds: float) -> None:
        while await self._database.rows(
            "DELETE FROM inline_files WHERE name IN (SELECT name FROM inline_files"
            f" WHERE saved_at < {NOW} - $1::bigint ORDER BY saved_at LIMIT 10) RETURNING name",
            int(seconds * 1000),
        ):
            pass
