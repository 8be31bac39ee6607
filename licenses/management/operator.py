"""Who runs a command, as the audit trail has it."""

import getpass
import os


def running() -> str:
    """The user's name, or number where the system has no name for it, as in many containers."""
    try:
        return f"command:{getpass.getuser()}"
    except (KeyError, OSError):
        return f"command:uid {os.getuid()}"
