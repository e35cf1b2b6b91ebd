"""What Hydra composes; a package, so that the wheel holds it and `pkg://kurve.conf` finds it."""
