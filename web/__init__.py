"""The monitoring page, installed as bgjobd.web and a client of the socket like any other; it comes later."""
