"""One file (or folder) a runtime of models, all behind the protocol of `backend.py`. They know no steps and no tiers."""
