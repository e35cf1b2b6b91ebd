"""kurve's Hydra plugins. `hydra_plugins` itself is a namespace and has no `__init__.py`."""
