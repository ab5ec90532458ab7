"""The Prometheus room: what of queue, trainers and HTTP becomes a series. Knows no Redis and no route."""
