"""One experiment a file; each defines ``published`` and ``demo``."""
