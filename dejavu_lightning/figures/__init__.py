"""Pictures and tables of one measurement."""
