"""The SQL of lists of jobs, of attempts and of log entries, in pages: by key, filtered, and bounded in time.

A page is put together chunk by chunk of what an index gives, so that a search which finds nothing still says how
far it has come. It is bounded in bytes too, for entries may be large. Each source names its index: the planner would
rather sort a whole table than walk one backwards. The newest are first: the latest ids, and of jobs that have all ended
the latest ends.
"""
