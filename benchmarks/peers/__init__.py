"""The other PostgreSQL job queues, measured beside Soniq: script/bench --peers.

comparison.py has the tables and the targets, systems.py the list of systems. Each system has one file, which runs in an
environment of its own (environments.py), so nothing may be imported here that they do not have.
"""
