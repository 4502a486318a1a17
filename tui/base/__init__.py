"""Text, keys, themes, settings and the two languages of the console. Knows no screen."""
