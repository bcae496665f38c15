"""The dashboard: what Soniq is doing, in a browser and as JSON. `soniq dashboard` serves it; it may also be mounted.

    from soniq.dashboard import dashboard

    app.mount("/soniq", dashboard("postgresql://user@host/database"))

The rooms, from a request to its answer: app.py puts them together, access.py says who may come in and act, pages/ and
api.py are the addresses, looking.py and acting.py have all the SQL, models.py what the API answers, templates/ and
charts.py what people see, wording.py how numbers and times are written. reaching.py leads to the database, refusals.py
to an error that says its remedy.

Needs pip install soniq[dashboard].
"""

from soniq.dashboard.app import dashboard

__all__ = ["dashboard"]
