"""An outbox: jobs that are written into a table of the application's database, in its transaction, and submitted after
its commit. So a commit needs no daemon, and a rollback leaves nothing.
"""
