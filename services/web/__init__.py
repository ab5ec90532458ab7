"""The web room: pages for people, and the few ES modules that keep them live. Knows no Redis and no torch."""
