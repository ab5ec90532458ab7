"""Backups: Redis and storage of one moment in one file, written while the service runs, restored into an empty home.

A gzipped tar: a header, the files of storage, what lies in Redis as JSON lines, and last a signed manifest with the
hash of each; without it a file is no backup. Knows no command line.
"""
