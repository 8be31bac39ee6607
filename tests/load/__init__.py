"""`make bench` and its kin: how fast the service as deployed answers, and what that costs. Loopback only, bounded.

    python -m tests.load paid|growth|soak|users|peers|profile [--seconds N] [--rounds N] [--out FOLDER]

machine.py      what is measured on: processor, memory, versions, commit
provider.py     a provider that speaks Chat Completions and is never the bottleneck; a process of its own
client.py       keep-alive connections that ask as fast as they are answered; a process of its own
world.py        PostgreSQL (durable), Valkey, provider, the service, and servers to compare it with
bare.py         a Django view and a DRF view that do nothing, for gunicorn with the checked-in configuration
costs.py        CPU and memory of the processes
trips.py        round trips to database and cache, counted between the service and them
drive.py        one measured drive: client, costs and the check that answers, calls and ledger agree
bench.py        what is driven in which order, for each of the commands
peer.py         LiteLLM's proxy, in an environment of its own
report.py       tables and pictures
filling.py      databases with a past
users.py        a crowd of locust's users
profile.py      where the web processes' time goes
locustfile.py   users who think between requests; also against a deployed address

No figure is worth anything from a machine that does other things at the same time: each report says how busy it was.
"""
