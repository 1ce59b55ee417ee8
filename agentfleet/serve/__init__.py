"""One local model as an HTTP endpoint, so that many processes share one copy of its weights. Packages: the extra `serve`.

It knows models and the fleet file; it knows no graphs and no ledger.
"""
