"""The skill `invoice`: the fields of an invoice."""
