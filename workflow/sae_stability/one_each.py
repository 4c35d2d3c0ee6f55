"""A check of lists that must have one entry for each SAE, pair or repeat of a command."""

from collections.abc import Sequence

from sae_stability.errors import StudyError


def check_one_each(count: int, plural: str, **lists: Sequence) -> None:
    """Check that every list, unless it is empty, has `count` entries.

    Args:
        count: number of things, such as SAEs, that a command is about.
        plural: what they are called, such as "SAEs".
        lists: the lists, by the name of their flag, with underscores.

    Raises:
        StudyError: a list has more or fewer entries.
    """
    for name, values in lists.items():
        if values and len(values) != count:
            flag = name.replace("_", "-")
            raise StudyError(f"--{flag} is given {len(values)} times for {count} {plural}; give it once for each")
