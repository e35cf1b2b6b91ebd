"""kurve in MLflow: the tracker that logs reports, and what the tracking server needs to show them."""
