"""The client that is awaited: the one source of both clients.

What waits stands here alone. `make reference` writes the client that blocks (`unroll.client`, `unroll.transport`,
`unroll.sse`, `unroll.resources`) from it by leaving the waiting words out; only `net` is written twice by hand.
"""
