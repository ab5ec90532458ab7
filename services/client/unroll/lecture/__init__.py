"""`unroll lecture`: the experiments of a lecture on recurrent networks, run on the server, and their report.

`laboratory` queues jobs and waits, `experiments` says which, `hello` walks through a tiny network by hand, `results`
holds what came, `figures` and `report` show it. Needs the extra
`unroll[lecture]`: Jinja2, matplotlib, NumPy, safetensors.
"""
