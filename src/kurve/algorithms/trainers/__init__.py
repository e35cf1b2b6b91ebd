"""Subclasses of TRL's trainers: the only modules that import torch and TRL, imported when training starts."""
