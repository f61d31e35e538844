"""The errors that users see. Every message says what was got, what was expected, and what to do."""


class TrazoError(Exception):
    """Something a user can put right: its message is meant to be read without a traceback."""


class InputError(TrazoError, ValueError):
    """A value, file or array that cannot be used as given."""
