"""Backups that restore: a daily dump with its checksum, sealed and kept elsewhere, and the proof that it restores.

    postgres    pg_dump and pg_restore, snapshots, scratch databases
    sealing     encryption with age
    store       where backups are kept: a folder or S3-compatible storage; the manifest of each
    folder      the temporary folder of a run
    runs        what each run came to, as a row, a log line and, when it failed, a mail
    taking      take a backup, remove old ones
    verifying   restore the newest one and compare
    schedule    what the worker starts every night
    metrics     how the last runs went

How an operator sets it up and restores is in docs/backups/. Point-in-time recovery is pgBackRest's; its drill is
`drill`.
"""
