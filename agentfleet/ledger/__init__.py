"""The durable record of runs: what finished, what it cost, who owns it. Stores JSON; knows no graphs, no models."""
