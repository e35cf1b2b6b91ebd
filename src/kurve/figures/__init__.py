"""Reports as matplotlib figures."""
