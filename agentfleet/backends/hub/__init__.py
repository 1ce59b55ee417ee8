"""Weights from a hub: fetched through huggingface-hub, pinned to revision and sha256 in agentfleet.lock, checked when opened.

Importing this costs nothing: the library is loaded when something is fetched.
"""
