"""Parts of the page, one a file: pictures or a table with their numbers."""
