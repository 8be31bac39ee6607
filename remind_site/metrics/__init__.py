"""`/metrics`: the figures of the whole service for Prometheus, whichever of its web processes answers.

    process_files   the folder in which web processes share their counts; gunicorn's master looks after it
    requests        what the middleware counts about every request
    sampler         what a process says about itself every few seconds: its connection pool, its threads
    database        what is read at each scrape from the database, the cache and the clock; the list of who has some
    view            the page itself

Each app defines and counts its own in its `metrics.py`. gunicorn's configuration makes the folder before it imports
anything else, since prometheus_client decides at its import where it counts; `process_files` imports nothing of ours.
"""
