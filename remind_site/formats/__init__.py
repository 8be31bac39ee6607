"""How moments and days are written, where Django's own way for a language would stand."""
