"""The walk-through: the whole loop on one machine, with synthetic birds."""
