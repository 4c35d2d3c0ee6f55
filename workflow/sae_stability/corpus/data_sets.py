"""Documents from data sets of the `datasets` library: on the hub, in a local folder, or saved by `save_to_disk`."""

import json
from collections.abc import Iterator
from pathlib import Path

from sae_stability.corpus.text_files import Row, no_column
from sae_stability.errors import StudyError, one_line

_SAVED, _SAVED_SPLITS = "state.json", "dataset_dict.json"


def data_set_files(name: str) -> list[Path]:
    """The files of a data set in a local folder, sorted; none for one on the hub. Hidden files are left out.

    Raises:
        StudyError: the name is that of a folder which is not there, or is empty.
    """
    folder = Path(name)
    if not folder.is_dir():
        if name.startswith((".", "/", "~")) or name.count("/") > 1:
            raise StudyError(f"corpus: data set '{name}': no such folder; give a folder, or a name on the hub")
        return []
    files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
    files = [file for file in files if not any(part.startswith(".") for part in file.relative_to(folder).parts)]
    if not files:
        raise StudyError(f"corpus: data set '{name}': the folder is empty; put the data set's files in it")
    return files


def data_set_rows(
    name: str, config: str | None, split: str, text_column: str, revision: str | None, streaming: bool
) -> Iterator[Row]:
    """Yield the rows of a data set in its own order: where each is, and the value of its text column.

    Args:
        name: a data set on the hub, a folder of data files, or a folder that `save_to_disk` wrote.
        config: its configuration (subset); None for its only one.
        split: its split. A single saved data set has none, and all of it is read.
        text_column: the column of the text.
        revision: branch, tag or commit on the hub; None for its main branch.
        streaming: read rows as they are needed, and do not download the whole first.

    Raises:
        StudyError: it cannot be opened or read to the end, or has no such split or column.
    """
    local = bool(data_set_files(name))
    what = f"corpus: data set '{name}'" + ("" if local else f" (config {config}, split {split})")
    mend = "mend its files, or read them as a corpus of kind files" if local else "check its name, or the network"
    with one_line(f"{what} cannot be read", mend):
        data = _saved(Path(name), split, what) if _is_saved(Path(name)) else None
        if data is None:
            data = _opened(name, config, split, revision, streaming)
        columns = data.column_names or list(next(iter(data), {}))
        if text_column not in columns:
            raise StudyError(f"data set '{name}': {no_column(text_column, columns)}")
        rows = iter(data.select_columns([text_column]))
    number = 0
    while True:
        with one_line(f"{what} cannot be read after row {number:,}", mend):
            row = next(rows, None)
        if row is None:
            return
        number += 1
        yield f"data set '{name}', row {number}", row[text_column]


def _opened(name: str, config: str | None, split: str, revision: str | None, streaming: bool):
    import datasets

    return datasets.load_dataset(name, config, split=split, revision=revision, streaming=streaming)


def _is_saved(folder: Path) -> bool:
    return (folder / _SAVED).is_file() or (folder / _SAVED_SPLITS).is_file()


def _saved(folder: Path, split: str, what: str):
    """A data set that `save_to_disk` wrote; of several splits, the one called `split`."""
    import datasets

    if (folder / _SAVED_SPLITS).is_file():
        splits = json.loads((folder / _SAVED_SPLITS).read_text(encoding="utf-8"))["splits"]
        if split not in splits:
            raise StudyError(f"{what} has no split '{split}'; its splits are {', '.join(splits)}")
        folder = folder / split
    return datasets.load_from_disk(str(folder))
