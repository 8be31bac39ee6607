"""What goes wrong with backups, in words for an operator."""


class BackupProblem(Exception):
    """A backup can't be taken, kept or restored; its text says why in plain words, and holds no secret."""


class UnderWay(BackupProblem):
    """Another one is being taken or verified."""
