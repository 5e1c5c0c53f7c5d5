"""For people: the `mercato` program."""
