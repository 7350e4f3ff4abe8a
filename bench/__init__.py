"""`make bench`: what this project does, measured beside programs that others use for the same."""
