"""The copy: table by table in one transaction of the target, counted on both sides before the commit."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import orjson

from service.core.subscription import Subscription
from service.store.errors import CannotOpen
from service.store.postgres.files import PIECE
from service.store.postgres.rows import decode_subscription, encode_subscription, text
from service.store.sqlite.rows import SUBSCRIPTION_COLUMNS, subscription_from_row, subscription_to_row
from service.store.transfer.postgres_side import PostgresSide
from service.store.transfer.sides import Row, SourceSide, TargetSide
from service.store.transfer.sqlite_side import SqliteSide

SQLITE = "sqlite:///"
# Belongs to a process or an engine, and is not copied.
FILES, PIECES = "inline_files", "inline_pieces"
OWN = ("schema_version", "counters", "signals", "workers", "worker_counts", "lane_groups")
NOT_COPIED = frozenset({*OWN, FILES, PIECES})
FILE_COLUMNS, PIECE_COLUMNS = ("name", "size", "saved_at"), ("name", "piece", "data")
MUST_BE_EMPTY = ("tasks", "events", "subscriptions")
# Columns that only one engine has.
OWN_NUMBERS = {"tasks": {"n"}}
CLAIM = "worker"
Progress = Callable[[int], AbstractContextManager[Any]]


async def copy_everything(source_url: str, target_url: str, media: str, progress: Progress) -> dict[str, int]:
    """All or nothing. Returns the number of rows of each table. `media` is the folder of inline files with SQLite.

    Raises CannotOpen when a side cannot be used, the source is in use, or the target is not empty.
    """
    source = await _open(source_url, "--from", must_exist=True)
    try:
        target = await _open(target_url, "--to", must_exist=False)
        try:
            return await _copy(source, target, Path(media), progress)
        finally:
            await target.close()
    finally:
        await source.close()


async def _open(url: str, name: str, *, must_exist: bool) -> SqliteSide | PostgresSide:
    if url.startswith(SQLITE):
        return SqliteSide(url.removeprefix(SQLITE), must_exist=must_exist)
    return await PostgresSide.open(url, name)


async def _copy(source: SourceSide, target: TargetSide, media: Path, progress: Progress) -> dict[str, int]:
    for table in MUST_BE_EMPTY:
        if await target.count(table):
            raise CannotOpen(f"--to is not empty: it has {table}")
    counts = {table: await source.count(table) for table in await source.tables() if table not in NOT_COPIED}
    with progress(sum(counts.values())) as bar:
        for table, count in counts.items():
            if await target.columns(table):
                await target.clear(table)
            if count:
                await _copy_table(source, target, table, bar)
    await target.set_numbers(await source.numbers())
    counts["inline files"] = await _copy_files(source, target, media)
    for table, count in counts.items():
        written = await target.count(table) if count and table != "inline files" else count
        if written != count:
            raise CannotOpen(f"{table}: {count} rows were read but {written} written; nothing was copied")
    await target.commit()
    return counts


async def _copy_table(source: SourceSide, target: TargetSide, table: str, bar: Any) -> None:
    if table == "subscriptions" and isinstance(source, SqliteSide) is not isinstance(target, SqliteSide):
        await _copy_subscriptions(source, target, bar)
        return
    there = await target.columns(table)
    own = OWN_NUMBERS.get(table, set())
    columns = [name for name in await source.columns(table) if name not in own]
    if missing := set(columns) - set(there):
        raise CannotOpen(f"--to has no column {', '.join(sorted(missing))} in {table}: its schema is different")
    types = [there[name] for name in columns]
    hand = columns.index(CLAIM) if CLAIM in columns else None
    async for rows in source.rows(table, columns):
        await target.insert(table, columns, [_fitting(row, types, hand) for row in rows])
        bar.update(len(rows))


def _fitting(row: Row, types: Sequence[str], hand: int | None) -> Row:
    """Converted to the types of the target, and unclaimed."""
    fitted = [_value(value, kind) for value, kind in zip(row, types, strict=True)]
    if hand is not None:
        fitted[hand] = 0
    return tuple(fitted)


def _value(value: Any, kind: str) -> Any:
    if kind == "text" and isinstance(value, str):
        return text(value)
    if kind == "text" and isinstance(value, bytes):
        return value.decode()
    if kind in ("bytea", "blob") and isinstance(value, str):
        return value.encode()
    if kind == "array" and isinstance(value, str):
        return orjson.loads(value)
    if isinstance(value, list):
        return orjson.dumps(value).decode()
    if kind == "boolean" and value is not None:
        return bool(value)
    if isinstance(value, bool):
        return int(value)
    return value


async def _copy_subscriptions(source: SourceSide, target: TargetSide, bar: Any) -> None:
    """PostgreSQL stores each as one document."""
    columns = SUBSCRIPTION_COLUMNS.split(", ")
    if isinstance(source, SqliteSide):
        async for rows in source.rows("subscriptions", columns):
            await target.insert("subscriptions", ["id", "owner", "enabled", "state"], list(map(_document, rows)))
            bar.update(len(rows))
        return
    async for rows in source.rows("subscriptions", ["state"]):
        items = [decode_subscription(state) for (state,) in rows]
        await target.insert("subscriptions", columns, [subscription_to_row(item) for item in items])
        bar.update(len(rows))


def _document(row: Row) -> Row:
    item: Subscription = subscription_from_row(row)
    return item.id, item.owner, item.enabled, encode_subscription(item)


async def _copy_files(source: SourceSide, target: TargetSide, media: Path) -> int:
    if isinstance(source, PostgresSide):
        return await _from_database(source, target, media)
    if isinstance(target, PostgresSide):
        return await _from_folder(target, media)
    # Between two SQLite files the folder stays as it is.
    return 0


async def _from_folder(target: TargetSide, media: Path) -> int:
    files = sorted(media.glob("*.*")) if media.is_dir() else []
    kept = [path for path in files if path.is_file() and path.suffix != ".part"]
    for path in kept:
        stat = path.stat()
        await target.insert(FILES, FILE_COLUMNS, [(path.name, stat.st_size, int(stat.st_mtime * 1000))])
        with path.open("rb") as file:
            piece = 0
            while data := file.read(PIECE):
                await target.insert(PIECES, PIECE_COLUMNS, [(path.name, piece, data)])
                piece += 1
    return len(kept)


async def _from_database(source: SourceSide, target: TargetSide, media: Path) -> int:
    if isinstance(target, PostgresSide):
        for table, columns in ((FILES, FILE_COLUMNS), (PIECES, PIECE_COLUMNS)):
            async for rows in source.rows(table, columns):
                await target.insert(table, columns, rows)
        return await source.count(FILES)
    made: set[Path] = set()
    try:
        async for rows in source.rows("inline_pieces ORDER BY name, piece", ["name", "data"]):
            media.mkdir(parents=True, exist_ok=True)
            for name, data in rows:
                path = media / Path(name).name
                with path.open("ab" if path in made else "wb") as file:
                    file.write(data)
                made.add(path)
    except BaseException:
        for path in made:
            path.unlink(missing_ok=True)
        raise
    return len(made)
