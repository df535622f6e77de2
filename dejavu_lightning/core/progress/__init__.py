"""Long work that says how far it is, to whoever asked."""
