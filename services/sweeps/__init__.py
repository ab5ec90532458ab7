"""Sweeps: many jobs in search of the best values. `creation` checks what is asked for, `search` finds the next point,
`halving` tells which trials to stop, `report` sums up, and `sweeper` moves everything on.
"""
