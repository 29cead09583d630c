"""`bgjob top`: the running state at a terminal."""
