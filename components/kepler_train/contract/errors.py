"""The one error hierarchy. A message says the fact, then the remedy: `no samples …; is Kepler scraped?`."""

from __future__ import annotations


class KeplerTrainError(Exception):
    """Say what is wrong and what to do about it; base of all errors a user is meant to read."""


class WrongUsage(KeplerTrainError):
    """A parameter or option that cannot be meant: end before start, an unknown group (exit code 2)."""


class SourceError(KeplerTrainError):
    """Prometheus or a recording could not be read: unreachable, refused, truncated, not what it should be."""


class NoData(KeplerTrainError):
    """What was read holds nothing to train on or to judge with."""


class BrokenContract(KeplerTrainError):
    """An artifact or a document is not what the contract says: another schema version, a missing file."""


class PipelineError(KeplerTrainError):
    """A training pipeline breaks the unified format, or its `train` failed."""


class NoInterpreter(KeplerTrainError):
    """The interpreter of a runtime is not on this machine, cannot be made here, or is not what it should be."""


class NotLoadable(KeplerTrainError):
    """A kepler-estimator could not load this model, or would not get a usable answer from it."""


class StoreError(KeplerTrainError):
    """The store is away, refuses the credentials, or has no such bucket, model or version."""


class ChampionChanged(StoreError):
    """Another version is served by now than the one that a candidate was measured against."""


class DamagedModel(StoreError):
    """Files of a stored version are missing or differ from their checksums."""


class UntrustedModel(DamagedModel):
    """A stored version is not signed, or not with a key that is trusted here."""


class IndexConflict(StoreError):
    """The index changed between read and write, more often than retries could heal."""


class KubeflowError(KeplerTrainError):
    """The API of Kubeflow Pipelines is away, or refuses a request."""


class NothingServed(StoreError):
    """The store serves no model at all."""


class NotWritable(KeplerTrainError):
    """Files cannot be written here: no room, no permission, or another is at work in the same place."""


class NotDelivered(KeplerTrainError):
    """A receiver of notifications is away, or refuses them."""


class RolloutError(KeplerTrainError):
    """Estimators could not be made to take up a set: Kubernetes is away, or refuses."""


class NoContainers(KeplerTrainError):
    """Containers cannot be started on this machine: no Docker, or an image is not to be had."""
