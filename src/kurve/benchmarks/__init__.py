"""Turn dataset rows into problems."""
