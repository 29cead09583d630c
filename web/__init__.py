"""The monitoring page, installed as bgjobd.web: a process of its own, and a client of the socket like any other."""
