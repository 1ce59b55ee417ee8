"""Heads: small classifiers trained on a skill's own examples, the lowest rung of a classify step.

`features` turns text into numbers (numpy and the standard library only), `fit` trains and calibrates
(scikit-learn), `head` is the backend, `store` keeps a trained one on disk.
"""
