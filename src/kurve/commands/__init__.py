"""One function per command of the command line."""
