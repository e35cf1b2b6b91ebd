"""Pure numpy measurements: arrays in, arrays out."""
