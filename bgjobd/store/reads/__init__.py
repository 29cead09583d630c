"""What callers may read, a file for each thing that it is about; on the connection of a Reader, which cannot write."""
