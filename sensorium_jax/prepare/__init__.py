"""Recordings and their conversion into a store: fetch, read, label, convert, examine."""
