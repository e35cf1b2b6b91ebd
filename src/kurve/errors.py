"""What kurve raises.

KurveError
    ConfigError      a setting is wrong or contradicts another
    DataError        a dataset or stored file is unreadable, malformed or does not match
        StoreError   a sample store cannot be used: other settings, in use, damaged, no space
    SamplingError    an engine or a server failed
    TrainingError    a model cannot be loaded, trained or saved
    StudyError       a stage of a study failed, or its record cannot be used
    SweepError       jobs of a sweep failed, or its record cannot be used
    VerifierError    the verifier cannot be started or keeps failing
    MetricError      the counts do not allow the measurement that was asked for
    TrackingError    the tracking server cannot be reached or refused
        RejectedError  what was sent will be refused again, however often it is sent
        NotKeptError   the server is away, and this is not kept to be sent later as the rest is
    GateError        a gate does not let a model version pass
        EvidenceError  since the data allow both, or are not there

The command line turns each of them into one message and its exit code: 1 for a gate that failed, 3 for one without
enough evidence, 2 for everything else.
"""


class KurveError(Exception):
    """Base of all errors raised on purpose: the message says what was given, expected and to do."""

    exit_status = 2  # of the command line


class ConfigError(KurveError):
    """A setting is wrong or contradicts another."""


class DataError(KurveError):
    """A dataset or stored file is unreadable, malformed or does not match."""


class StoreError(DataError):
    """A sample store cannot be used: other settings, in use, damaged, or no space left."""


class SamplingError(KurveError):
    """An engine or a server failed."""


class TrainingError(KurveError):
    """A model cannot be loaded, trained or saved."""


class StudyError(KurveError):
    """A stage of a study failed, or the study's record cannot be used."""


class SweepError(KurveError):
    """Jobs of a sweep failed, or the sweep's record cannot be used."""


class VerifierError(KurveError):
    """The verifier cannot be started or keeps failing."""


class MetricError(KurveError):
    """The counts do not allow the measurement that was asked for."""


class TrackingError(KurveError):
    """The tracking server cannot be reached or refused what was sent."""


class RejectedError(TrackingError):
    """The tracking server will refuse what was sent however often it is sent."""


class NotKeptError(TrackingError):
    """The tracking server is away, and this is not kept to be sent later, as everything else is."""


class GateError(KurveError):
    """A gate does not let a model version pass."""

    exit_status = 1


class EvidenceError(GateError):
    """A gate does not let a model version pass, since the data allow both or are not there."""

    exit_status = 3
