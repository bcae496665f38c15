"""Breaking everything around Soniq, at random, and proving that it kept its promises: script/chaos.

    faults.py     what is done to runners, server and network
    world.py      what it is done to: a server, three runners, producers
    handlers.py   the jobs that are run meanwhile; each notes when it starts and ends
    producing.py  who enqueues them, and notes what the database has acknowledged
    ledger.py     the notes, in files and in tables
    checker.py    what the notes and Soniq's own records have to say of each other
    cable.py      the network between a runner and its server

tests/py/faults/ does the same in short, one fault at a time.
"""
