"""Open files: the limit raised, and a part of them kept for callbacks and health checks."""

import logging
import resource
from enum import Enum

from service.core.throttled_warning import ThrottledWarning

log = logging.getLogger("callbridge.server")
# More are never needed, and some systems say "unlimited".
MAX_FILES = 1 << 20
# Shares of the open files that connections may take: all of them, and those to the callback doors and health checks.
# The rest is for the database, deliveries, provider calls and result files.
ORDINARY, MOST = 0.5, 0.6


class Access(Enum):
    ALL = "all"
    ESSENTIAL = "essential"
    NONE = "none"


class Admission:
    """Decides when a connection opens, before anything is known of it."""

    def __init__(self, files: int) -> None:
        self.ordinary = int(files * ORDINARY)
        self.most = int(files * MOST)
        self._short = ThrottledWarning(
            log, "short of open files: %d connections were refused or limited (see `ulimit -n`)"
        )

    def access(self, connections: int) -> Access:
        if connections <= self.ordinary:
            return Access.ALL
        self._short.add()
        return Access.ESSENTIAL if connections <= self.most else Access.NONE


def raise_file_limit() -> int:
    """Raise the soft limit of open files to the hard one; returns how many files may be open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_FILES)
    if soft == resource.RLIM_INFINITY:
        return MAX_FILES
    if soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (ValueError, OSError) as error:
            log.warning("the limit of %d open files cannot be raised: %s", soft, error)
            return soft
    return max(soft, wanted)
