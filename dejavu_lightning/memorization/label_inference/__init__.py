"""Label inference: does a background crop give the label away (Meehan et al. 2023, arXiv 2304.13850)?."""
