"""Samples and verdicts made with other tools -> rows that a store takes: one module a format.

A format is a module with `NAME`, `recognises`, `facts`, `gather` and `read` (see `imported.Importer`); `detect` asks
each in turn. `survey` reads everything once before anything is written, `writing` reads it again into the store.
"""
