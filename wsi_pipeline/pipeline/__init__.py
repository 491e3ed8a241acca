"""The story of one slide, from the file to the pictures; start with `run.py`."""
