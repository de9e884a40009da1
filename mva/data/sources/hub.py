"""Data sets of the hub, through the `datasets` library."""

from collections.abc import Iterator
from dataclasses import dataclass

from datasets import load_dataset
from datasets.exceptions import DatasetsError

from mva.checks import Text, check
from mva.data.sources.base import BadRow, DataUnavailable, Row


@dataclass(frozen=True)
class HubDataset:
    """One split of a hub data set.

    `subset` is its configuration, `data_dir` a folder in it, `revision` a commit or tag.
    """

    name: Text
    split: Text = "train"
    subset: Text | None = None
    data_dir: Text | None = None
    revision: Text | None = None

    def __post_init__(self) -> None:
        """Refuse settings that are not as annotated."""
        check(self)

    def rows(self) -> Iterator[Row | BadRow]:
        """Yield the rows in the data set's order.

        Raises:
            DataUnavailable: If the hub can't be reached or has no such data set.
        """
        try:
            rows = load_dataset(
                self.name, self.subset, split=self.split, data_dir=self.data_dir, revision=self.revision
            )
        except (OSError, ValueError, DatasetsError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise DataUnavailable(
                f"The data set '{self.name}' can't be loaded ({reason}): check name, split and network, or "
                f"download it elsewhere and use data=files."
            ) from error
        for number, fields in enumerate(rows):
            yield Row(f"{self.name}[{self.split}]:{number}", fields)
