"""The SQL of what runs for every job (submit, claim, start, end, retry), and of what lists a table's columns.

It is text with named placeholders, in part compiled from the models, once, at import. Each file has the statements of
one kind of rows, or of one thing that is done with them.
"""
