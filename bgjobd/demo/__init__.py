"""A demonstration on real input: sample approved classes, and a show that runs them."""
