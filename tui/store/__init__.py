"""The database that is also the bus between app, worker and command line; the only place that knows sqlite3."""
