"""The skill `intent`: what a customer wants."""
