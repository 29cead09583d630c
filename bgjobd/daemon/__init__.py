"""The loop: requests and reports come in, commits go out, and what follows from them is carried out."""
