"""Stock graphs: one file each."""
