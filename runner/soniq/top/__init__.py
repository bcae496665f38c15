"""`soniq top`: how things stand, in a terminal. glance.py reads, frame.py lays out, keys.py hears, screen.py shows."""
