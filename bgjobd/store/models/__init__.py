"""The tables as peewee models, unbound: column names and formats are the contract with users."""
