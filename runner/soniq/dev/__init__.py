"""`soniq dev`: a database, a runner that follows the code, the dashboard and one log, until Ctrl-C.

session.py is what happens, in its order; child.py keeps a process running; watching.py tells what has changed;
folder.py is what stays in .soniq/; postgres.py is the database of one's own; dashboard.py is the dashboard; log.py puts
together what all say.
"""
