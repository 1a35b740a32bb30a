"""The stages, one file each: cells, planning, checks before a run, computing, rows of tables."""
