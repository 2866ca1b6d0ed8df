"""The owners in a table, found in its index with one step for each."""

# To read from in that statement.
OWNERS = "(SELECT owner FROM owners WHERE owner IS NOT NULL) AS owners"


def with_owners(table: str) -> str:
    """The beginning of a statement."""
    return (
        f"WITH RECURSIVE owners(owner) AS ((SELECT owner FROM {table} ORDER BY owner LIMIT 1) UNION ALL"
        f" SELECT (SELECT owner FROM {table} WHERE owner > owners.owner ORDER BY owner LIMIT 1) FROM owners"
        " WHERE owners.owner IS NOT NULL)"
    )
