"""The configuration: its keys and values, where they come from, and what is wrong with them."""
