"""The commands, one module for each group of them; soniq.cli puts them together."""
