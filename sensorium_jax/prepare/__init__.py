"""Recordings into a store: fetch, read, label, convert, examine."""
