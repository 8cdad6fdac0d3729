"""SVHN, cropped digits (Netzer et al. 2011): 73,257 training and 26,032 test images, 32x32 RGB, 10 classes."""

import torch
import torchvision

from attnlab.data.download_lock import locked
from attnlab.data.memory import Images, MemoryData, canonical
from attnlab.errors import DataError


class SVHN(MemoryData):
    """root: a folder with train_32x32.mat and test_32x32.mat, verified by torchvision's checksums.

    A missing file is downloaded. Raises DataError when that fails.
    """

    def read(self) -> tuple[Images, Images]:
        return self._part("train"), self._part("test")

    def _part(self, split: str) -> Images:
        try:
            try:
                data = torchvision.datasets.SVHN(str(self.root), split=split)
            except RuntimeError:  # missing, incomplete, or being written by another process
                with locked(str(self.root)):
                    data = torchvision.datasets.SVHN(str(self.root), split=split, download=True)
        except (RuntimeError, OSError, EOFError) as error:
            raise DataError(
                f"dataset.root={self.root}: {split}_32x32.mat is missing or damaged, and the download failed ({error})"
            ) from error
        return canonical(Images(torch.from_numpy(data.data), torch.from_numpy(data.labels).long()))
