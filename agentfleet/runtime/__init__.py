"""Runs graphs: sessions, the walk over the DAG, events and the record of a run. Prints nothing."""
