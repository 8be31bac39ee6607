"""`make faults`: the deployed service in a storm, and what must hold afterwards whatever died.

    python -m tests.storm [--seeds 3] [--first 1] [--seconds 35]

world.py      the processes: PostgreSQL and Valkey behind proxies, gunicorn, the worker, provider, mail server
proxy.py      a TCP proxy that cuts and delays
clients.py    forty clients and a probe, and the record of all that they were told
payments.py   Paddle, delivering events twice and in any order
faults.py     what goes wrong, and when: a schedule that a seed decides
verdict.py    the invariants
figures.py    what is printed of it

A seed decides which faults come when, not how processes are scheduled: a seed that failed once is worth running again.
"""
