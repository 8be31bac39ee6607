"""As everywhere else in the console: the day first, 24 hours, and that it is UTC."""

DATETIME_FORMAT = r"j M Y, H:i \U\T\C"
DATE_FORMAT = "j M Y"
TIME_FORMAT = "H:i"
