"""`soniq dev`: a database, runners that follow the code, the dashboard and one log, until Ctrl-C.

session.py is what happens, in its order; child.py keeps a process running; watching.py tells what has changed;
folder.py is what stays in .soniq/; postgres.py is the database of one's own, and schema.py Soniq's schema in it;
dashboard.py is the dashboard; ports.py says where one may listen; log.py puts together what all say.
"""
