"""A check of arguments that several verbs share."""

from collections.abc import Sequence

from sae_stability.errors import StudyError


def check_one_each(count: int, what: str, **lists: Sequence) -> None:
    """Check that every list which is not empty has one entry for each of `count` things.

    Args:
        count: how many there are.
        what: what they are, in the plural, such as "SAEs".
        lists: the lists, by the name of their flag.

    Raises:
        StudyError: a list has more or fewer entries.
    """
    for name, values in lists.items():
        if values and len(values) != count:
            flag = name.replace("_", "-")
            raise StudyError(f"--{flag} is given {len(values)} times for {count} {what}; give it once for each")
