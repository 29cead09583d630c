"""A demonstration on real input: sample approved classes, a show that runs them, and the bad day of a small shop."""
