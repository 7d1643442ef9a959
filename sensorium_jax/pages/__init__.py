"""All there is to look at: pages, figures, tables and bars in the terminal."""
