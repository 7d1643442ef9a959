"""HTML pages and figures, tables and progress bars in the terminal."""
