"""Who is trained on, attacked and looked up: splits, their files, and what may not be divided among them."""
