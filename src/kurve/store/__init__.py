"""Append-only stores of samples and verdicts, addressed by the fingerprint of the sampling settings.

One folder `<root>/<fingerprint>/` holds everything drawn under one `SamplingSpec`:

    spec.json                       the settings
    shards/<shard>/                 what a process draws beside others, until this store takes it over
    prompts-0000.jsonl              what was sent for each problem, and its digest
    samples-0000.jsonl.zst  .index  a sealed segment, and which samples it holds
    samples-0001.jsonl              the segment in use, plain text
    verdicts-<verifier>-0000.jsonl  judgements of one verifier
    cot-<digest of the judge>-0000.jsonl            a judge's verdicts on chains of thought
    scores-<model>-0000.jsonl       log-probabilities under one model, which scores-<model>.json names
    samples.lock, verdicts-<verifier>.lock, scores-<model>.lock

A line is one JSON object, pure ASCII, ending in its own CRC-32; the keys are listed in `records`. What `append`
has returned from survives `kill -9` of the process; the disk is told to keep it every five seconds while samples come,
and on closing, so a power failure costs the last few seconds of samples.
"""

from kurve.store.listing import StoreInfo, VerdictInfo, list_stores
from kurve.store.merging import MergeResult, merge
from kurve.store.records import StoredPrompt, prompt_digest
from kurve.store.reviews import ReviewStore, list_judges
from kurve.store.samples import SampleStore
from kurve.store.scores import ScoreStore, scoring_models
from kurve.store.slices import Shard
from kurve.store.spec import fingerprint
from kurve.store.verdicts import VerdictStore

__all__ = [
    "MergeResult",
    "ReviewStore",
    "SampleStore",
    "ScoreStore",
    "Shard",
    "StoreInfo",
    "StoredPrompt",
    "VerdictInfo",
    "VerdictStore",
    "fingerprint",
    "list_judges",
    "list_stores",
    "merge",
    "prompt_digest",
    "scoring_models",
]
