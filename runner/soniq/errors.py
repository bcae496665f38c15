"""What can go wrong outside a job, each with a message that says the remedy and an exit code."""


class SoniqError(Exception):
    """Anything that Soniq itself refuses. `exit_code` is what soniq-runner ends with."""

    exit_code = 1


class BadSettings(SoniqError):
    """One or more settings are missing or wrong; the message lists all of them."""

    exit_code = 10


class ModuleNotImportable(SoniqError):
    """A module of SONIQ_JOBS_MODULES cannot be imported; the message quotes why."""

    exit_code = 11


class NoJobs(SoniqError):
    """A module of SONIQ_JOBS_MODULES has no Soniq app with a job."""

    exit_code = 12


class DuplicateJob(SoniqError):
    """Two handlers or two schedules have one name."""

    exit_code = 13


class DatabaseUnreachable(SoniqError):
    """No connection to the database could be made."""

    exit_code = 14


class SchemaMissing(SoniqError):
    """The database answers, but Soniq's schema is not deployed in it, or not for this user."""

    exit_code = 15


class SchemaMismatch(SoniqError):
    """The schema belongs to another version of Soniq than this package."""

    exit_code = 16


class DatabaseRefused(SoniqError):
    """The database refuses what a command asks for; the message is the database's, with its remedy."""

    exit_code = 17


class NotConfirmed(SoniqError):
    """Something that takes many jobs was not confirmed."""

    exit_code = 18


class BadDeclaration(SoniqError):
    """A handler or an option in the code cannot work; raised where it is declared."""


class OutcomesLost(SoniqError):
    """The database stayed away until the shutdown ended; those jobs will be run again."""
