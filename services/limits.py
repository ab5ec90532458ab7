"""What the operating system lets a process of ours hold: every stream costs a socket on either side."""

import resource


def allow_many_sockets() -> None:
    """Raises the limit of open files as far as it may be raised without asking anybody."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
