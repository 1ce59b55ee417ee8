"""Steps, skills and graphs: what a user's typed functions become before anything runs.

Decoration reads signatures (`signature`), tracing turns a graph function into a `dag.Dag` (`trace`, `tracing`), and
`lint` finds what tracing would get silently wrong. Floor 1: nothing here runs a model; calls go through `runner`.
"""
