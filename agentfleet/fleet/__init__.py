"""The fleet: which models there are, in which tiers, at what price. Data and look-ups; calls nothing."""
