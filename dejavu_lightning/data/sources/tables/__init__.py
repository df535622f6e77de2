"""Tables of CSV, TSV and parquet files: their columns, and what is odd about them."""
