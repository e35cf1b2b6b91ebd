"""Did a post-training run teach a model anything its base could not already do? Pass@k, with its uncertainty."""

__version__ = "0.1.0"
