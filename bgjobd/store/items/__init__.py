"""What goes to the writer: plain values, no closures. Each file has the items of one kind; `item` is any of them."""
