"""The socket: who may connect, what may be asked, and how it is answered."""
