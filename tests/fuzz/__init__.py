"""Hostile bytes for every parser: `make test` gives each a few hundred inputs, `make fuzz` as many as time allows."""
