"""The compare page: what the tracking server adds to its own pages under `/kurve`."""
