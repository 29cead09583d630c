"""How the tables of the application came to be."""
