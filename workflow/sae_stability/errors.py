"""The one exception that stands for a mistake a person can mend."""


class StudyError(Exception):
    """What is wrong, where, and how to mend it, in one or two lines.

    The command line prints the message alone, without a traceback, and exits with 2.
    """
