"""The SQLite database that app, worker and command line share."""
