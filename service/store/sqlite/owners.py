"""The owners in a table, found in its index with one step for each."""


def owners_in(table: str, owner: str | None) -> str:
    """The body of `WITH RECURSIVE owners(owner)`; ends with a row of NULL. With an owner it is `:owner` alone."""
    if owner is not None:
        return "SELECT :owner"
    return (
        f"SELECT min(owner) FROM {table} UNION ALL"
        f" SELECT (SELECT min(owner) FROM {table} WHERE owner > owners.owner) FROM owners"
        " WHERE owners.owner IS NOT NULL"
    )
